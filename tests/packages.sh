#!/bin/sh
# Installs what a job needs on Debian 12 or newer: `packages.sh demo` or `packages.sh tests`. Does nothing where all of it
# is there. It starts no service, and refuses to replace one: Debian's MTA packages exclude one another.
# shellcheck disable=SC2086  # the lists are words
set -eu

build="gcc make libc6-dev autoconf automake pkg-config libmilter-dev libevent-dev libssl-dev libgsasl-dev libconfuse-dev
	libjansson-dev"
demo="$build postfix sasl2-bin libsasl2-modules libsasl2-modules-db openssl python3 util-linux"
tests="$demo apparmor autopkgtest build-essential ca-certificates check clang-format clang-tidy curl debhelper debootstrap
	dh-apparmor dovecot-imapd dovecot-lmtpd dovecot-pop3d dovecot-sieve iproute2 lintian lnav
	logcheck-database mandoc mtail procps prometheus rpm rpmlint selinux-policy-dev strace xz-utils"
policy=/usr/sbin/policy-rc.d

missing()
{
	for package in "$@"; do
		[ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || echo "$package"
	done
}

# Services stay as they are while we install: the one we bring is not started, no other is touched.
forbid_starts()
{
	[ -e $policy ] && return
	trap 'rm -f $policy' EXIT
	printf '#!/bin/sh\nexit 101\n' >$policy
	chmod 755 $policy
}

install_packages()
{
	[ "$(id -u)" = 0 ] || { echo "Run this as root: it needs $*" >&2; exit 1; }
	echo "Installing:" "$@"
	forbid_starts
	echo 'postfix postfix/main_mailer_type select No configuration' | debconf-set-selections
	apt-get -q update >/dev/null || echo 'apt-get update failed; going on with the lists that are there' >&2
	DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends --no-remove install "$@" >/dev/null || {
		echo 'The packages cannot be installed. If another mail server is installed here, Debian cannot add' >&2
		echo 'Postfix beside it: use a container or a chroot.' >&2
		exit 1
	}
}

case ${1-} in
demo) wanted=$(missing $demo) ;;
tests) wanted=$(missing $tests) ;;
*) echo 'usage: packages.sh demo|tests' >&2; exit 2 ;;
esac
[ -z "$wanted" ] || install_packages $wanted
