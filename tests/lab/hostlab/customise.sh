#!/bin/sh
# Copyright (c) 2026, bridgeport.net contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# customise.sh ROOT PUBLIC_KEY: turn a bare Debian below ROOT into a machine of the lab.

set -eu

root=$1

# What mmdebstrap took over from the machine that it ran on.
rm -f "$root/etc/hostname"
printf '127.0.0.1 localhost\n::1 localhost\n' >"$root/etc/hosts"

install -d -m 700 "$root/root/.ssh"
install -m 600 "$2" "$root/root/.ssh/authorized_keys"
cat >"$root/etc/ssh/sshd_config.d/lab.conf" <<'END'
PermitRootLogin prohibit-password
PasswordAuthentication no
UsePAM no
UseDNS no
END

# Interfaces keep the kernel's names. Everything they are told comes from the kernel's command line.
install -d "$root/etc/systemd/network"
ln -s /dev/null "$root/etc/systemd/network/99-default.link"
systemctl --quiet --root="$root" enable systemd-networkd.service
systemctl --quiet --root="$root" disable systemd-networkd-wait-online.service

# Nothing of a distribution's own start-up belongs into a test of ours.
for unit in containerd.service docker.service docker.socket firewalld.service nftables.service nginx.service \
    postgresql.service redis-server.service ufw.service; do
    systemctl --quiet --root="$root" disable "$unit"
done

# What a machine that lives for minutes has no use for, and emulated machines take seconds to start.
systemctl --quiet --root="$root" mask \
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer \
    e2scrub_reap.service systemd-pstore.service systemd-timesyncd.service getty@tty1.service serial-getty@ttyS0.service \
    modprobe@configfs.service modprobe@dm_mod.service modprobe@drm.service modprobe@efi_pstore.service \
    modprobe@fuse.service modprobe@loop.service \
    dev-hugepages.mount dev-mqueue.mount sys-kernel-debug.mount sys-kernel-tracing.mount \
    sys-fs-fuse-connections.mount sys-kernel-config.mount systemd-binfmt.service proc-sys-fs-binfmt_misc.automount
