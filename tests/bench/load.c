/* Copyright (c) 2026, bridgeport.net contributors
 * GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Makes connections, and serves them. In C, because a new connection takes some thirty microseconds.
 *
 *   load serve PORT ...                              prints "ready"; echoes over UDP, and the first byte over TCP
 *   load tcp|udp ADDRESS PORT COUNT FIRST_PORT       COUNT connections, one byte there and back on each, from source
 *                                                    ports FIRST_PORT and up; prints the median in microseconds
 *   load throughput ADDRESS PORT SECONDS             one TCP connection; prints megabits per second
 *
 * Server and connections keep to one processor, so that it does not matter where the scheduler would have put them;
 * throughput is sent from another, if there is one.
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define WARM_UP 10
#define SECONDS_TO_WAIT 3
#define BUFFER (256 * 1024)
#define ECHO 'e'
#define SINK 's'

static char buffer[BUFFER];

static void fail(const char *what)
{
    fprintf(stderr, "%s failed: %s\n", what, strerror(errno));
    exit(1);
}

/* Keep to the first or to the last of the processors that this process may use. */
static void keep_to(int last)
{
    cpu_set_t allowed, one;
    int chosen = -1;

    if (sched_getaffinity(0, sizeof(allowed), &allowed))
        fail("Learning the processors");
    for (int cpu = 0; cpu < CPU_SETSIZE && (last || chosen < 0); cpu++)
        if (CPU_ISSET(cpu, &allowed))
            chosen = cpu;
    CPU_ZERO(&one);
    CPU_SET(chosen, &one);
    if (sched_setaffinity(0, sizeof(one), &one))
        fail("Keeping to a processor");
}

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static struct sockaddr_in address(const char *host, int port)
{
    struct sockaddr_in result = {.sin_family = AF_INET, .sin_port = htons(port)};

    if (inet_pton(AF_INET, host, &result.sin_addr) != 1) {
        errno = EINVAL;
        fail(host);
    }
    return result;
}

static int bound(int type, const char *host, int port)
{
    struct sockaddr_in here = address(host, port);
    int sock = socket(AF_INET, type, 0), on = 1;

    if (sock < 0 || setsockopt(sock, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) ||
        bind(sock, (struct sockaddr *)&here, sizeof(here)))
        fail("Binding a socket");
    return sock;
}

/* What epoll returns for a socket: the socket itself, and what it is. */
enum kind { LISTENER, CONNECTION, DATAGRAMS };

static void watch(int queue, int sock, enum kind kind)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = (uint64_t)kind << 32 | (unsigned)sock};

    if (epoll_ctl(queue, EPOLL_CTL_ADD, sock, &event))
        fail("Watching a socket");
}

static void answer(int queue, int sock, enum kind kind)
{
    struct sockaddr_in peer;
    socklen_t length = sizeof(peer);
    ssize_t size;

    if (kind == LISTENER) {
        int connection = accept(sock, NULL, NULL);

        if (connection >= 0)
            watch(queue, connection, CONNECTION);
    } else if (kind == DATAGRAMS) {
        size = recvfrom(sock, buffer, BUFFER, 0, (struct sockaddr *)&peer, &length);
        if (size > 0)
            sendto(sock, buffer, size, 0, (struct sockaddr *)&peer, length);
    } else {
        size = recv(sock, buffer, BUFFER, 0);
        if (size <= 0)
            close(sock);
        else if (buffer[0] == ECHO)
            send(sock, buffer, 1, MSG_NOSIGNAL);
    }
}

static void serve(int count, char **ports)
{
    int queue = epoll_create1(0);

    keep_to(1);
    for (int i = 0; i < count; i++) {
        int listener = bound(SOCK_STREAM, "0.0.0.0", atoi(ports[i]));

        if (listen(listener, 1024))
            fail("Listening");
        watch(queue, listener, LISTENER);
        watch(queue, bound(SOCK_DGRAM, "0.0.0.0", atoi(ports[i])), DATAGRAMS);
    }
    puts("ready");
    fflush(stdout);
    for (;;) {
        struct epoll_event events[64];
        int ready = epoll_wait(queue, events, 64, -1);

        for (int i = 0; i < ready; i++)
            answer(queue, (int)(events[i].data.u64 & 0xffffffff), (enum kind)(events[i].data.u64 >> 32));
    }
}

static void limit_waiting(int sock)
{
    struct timeval patience = {.tv_sec = SECONDS_TO_WAIT};

    if (setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) ||
        setsockopt(sock, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)))
        fail("Limiting a socket's waiting");
}

/* The seconds of one connection, from its first packet to the answer. */
static double connection(int type, struct sockaddr_in *there, int source_port)
{
    struct linger at_once = {.l_onoff = 1};
    int sock = bound(type, "0.0.0.0", source_port);
    char byte = ECHO;
    double start;

    limit_waiting(sock);
    start = now();
    if (connect(sock, (struct sockaddr *)there, sizeof(*there)))
        fail("Connecting");
    if (send(sock, &byte, 1, 0) != 1 || recv(sock, &byte, 1, 0) != 1)
        fail("Asking for an answer");
    start = now() - start;
    /* A reset leaves no TIME_WAIT behind, which would take the source port. */
    setsockopt(sock, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    close(sock);
    return start;
}

static int ascending(const void *a, const void *b)
{
    double difference = *(const double *)a - *(const double *)b;

    return (difference > 0) - (difference < 0);
}

static void connections(int type, struct sockaddr_in there, int count, int first_port)
{
    double *seconds = calloc(count, sizeof(*seconds));

    keep_to(1);
    for (int i = -WARM_UP; i < count; i++) {
        double took = connection(type, &there, first_port + WARM_UP + i);

        if (i >= 0)
            seconds[i] = took;
    }
    qsort(seconds, count, sizeof(*seconds), ascending);
    printf("%.3f\n", seconds[count / 2] * 1e6);
}

static void throughput(struct sockaddr_in there, double seconds)
{
    int sock = socket(AF_INET, SOCK_STREAM, 0);
    double start, end, sent = 0;

    keep_to(0);
    limit_waiting(sock);
    if (connect(sock, (struct sockaddr *)&there, sizeof(there)))
        fail("Connecting");
    memset(buffer, SINK, BUFFER);
    start = now();
    do {
        ssize_t size = send(sock, buffer, BUFFER, MSG_NOSIGNAL);

        if (size <= 0)
            fail("Sending");
        sent += size;
        end = now();
    } while (end - start < seconds);
    printf("%.1f\n", sent * 8 / 1e6 / (end - start));
}

int main(int argc, char **argv)
{
    if (argc > 2 && !strcmp(argv[1], "serve"))
        serve(argc - 2, argv + 2);
    else if (argc == 6 && !strcmp(argv[1], "tcp"))
        connections(SOCK_STREAM, address(argv[2], atoi(argv[3])), atoi(argv[4]), atoi(argv[5]));
    else if (argc == 6 && !strcmp(argv[1], "udp"))
        connections(SOCK_DGRAM, address(argv[2], atoi(argv[3])), atoi(argv[4]), atoi(argv[5]));
    else if (argc == 5 && !strcmp(argv[1], "throughput"))
        throughput(address(argv[2], atoi(argv[3])), atof(argv[4]));
    else
        return fputs("The head of load.c says what to call it with.\n", stderr), 2;
    return 0;
}
