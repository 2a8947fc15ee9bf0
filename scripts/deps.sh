#!/usr/bin/env bash
# Installs the SSH peers and tools that the tests talk to. Needs Debian's apt
# and root; elsewhere it names what is missing and leaves with success, because
# the tests that need a missing peer skip and say so.
set -u

packages=(
  openssh-server openssh-client dropbear-bin tinysshd putty-tools
  python3-paramiko python3-asyncssh
  gcc libc6-dev libssh-dev libssh2-1-dev default-jdk-headless libjsch-java
  microsocks tinyproxy-bin dante-server
  erlang-base erlang-crypto erlang-public-key erlang-ssh
  libnss-wrapper libpam-wrapper ssh-audit curl netcat-openbsd iproute2 bash git rsync
  tshark tcpdump chromium
  openssh-tests softhsm2 gpg-agent putty procps
)

# command that proves the peer is there, for systems without dpkg
declare -A command_of=(
  [openssh-server]=sshd [openssh-client]=ssh [dropbear-bin]=dropbear
  [tinysshd]=tinysshd [putty-tools]=plink [gcc]=gcc [default-jdk-headless]=javac [erlang-base]=erl
  [ssh-audit]=ssh-audit [curl]=curl [netcat-openbsd]=nc [iproute2]=ip
  [bash]=bash [git]=git [rsync]=rsync [tshark]=tshark [tcpdump]=tcpdump [chromium]=chromium
  [microsocks]=microsocks [tinyproxy-bin]=tinyproxy [dante-server]=danted
  [softhsm2]=softhsm2-util [gpg-agent]=gpg-agent [putty]=pageant [procps]=pgrep
)

PATH=$PATH:/usr/sbin:/sbin

missing=()
if command -v dpkg-query >/dev/null; then
  for p in "${packages[@]}"; do
    state=$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null)
    [ "$state" = installed ] || missing+=("$p")
  done
else
  for p in "${!command_of[@]}"; do
    command -v "${command_of[$p]}" >/dev/null || missing+=("$p")
  done
fi
[ ${#missing[@]} -gt 0 ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "deps: not installed here: ${missing[*]}"
  echo "deps: tests that need them will skip; they install by themselves only with apt and root"
  exit 0
fi

echo "deps: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive

# A package that brings a server must not start it: the tests start their own.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
  printf '#!/bin/sh\nexit 101\n' >$policy && chmod 755 $policy
  trap 'rm -f $policy' EXIT
fi

log=$(mktemp)
apt() { apt-get -qq -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=120 "$@" </dev/null >>"$log" 2>&1; }

apt update || echo "deps: apt-get update had errors; going on with the lists that are there"
if ! apt install -y --no-install-recommends "${missing[@]}"; then
  # One unknown name makes apt refuse all of them: try each by itself.
  for p in "${missing[@]}"; do
    apt install -y --no-install-recommends "$p" || { echo "deps: could not install $p"; bad=1; }
  done
fi
[ -z "${bad-}" ] || tail -n 20 "$log"
rm -f "$log"
exit 0
