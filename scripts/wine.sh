#!/usr/bin/env bash
# Runs adit for Windows under wine: tests of the packages that know Windows, and
# adit.exe with an sshd of its own. With apt and root it installs what it needs; elsewhere
# it says what is missing and leaves with success.
#
# It takes two makeshifts before wine 9: Go's runtime wants ProcessPrng, which a
# library of our own gives, and os.RemoveAll a way to delete for which it
# has no other when wine says that it is not implemented. What is skipped below wine
# has not at all, or the tests are about unix's paths, shells and modes.
set -uo pipefail
cd "$(dirname "$0")/.."

GO=${GO:-go}
PATH=$PATH:/usr/sbin:/sbin

missing=()
command -v wine >/dev/null || missing+=(wine wine64)
command -v x86_64-w64-mingw32-gcc >/dev/null || missing+=(gcc-mingw-w64-x86-64)
command -v sshd >/dev/null || missing+=(openssh-server)
if [ ${#missing[@]} -gt 0 ]; then
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "wine: not installed here: ${missing[*]}; nothing is run"
    exit 0
  fi
  echo "wine: installing ${missing[*]}"
  DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${missing[@]}" </dev/null >/dev/null || exit 1
fi

tmp=$(mktemp -d)
export WINEPREFIX=$tmp/prefix WINEDEBUG=-all DISPLAY= CGO_ENABLED=0
trap 'wineserver -k 2>/dev/null; [ -s "$tmp/pid" ] && kill "$(cat "$tmp/pid")"; rm -rf "$tmp"' EXIT
timeout 120 wineboot -i >/dev/null 2>&1 || { echo "wine: it does not start: wineboot -i"; exit 1; }

if [ ! -e "$WINEPREFIX/drive_c/windows/system32/bcryptprimitives.dll" ]; then
  cat >"$tmp/prng.c" <<'C'
#include <windows.h>
BOOLEAN NTAPI SystemFunction036(PVOID, ULONG); /* RtlGenRandom */
__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T n) {
	for (ULONG part; n > 0; data += part, n -= part) {
		part = n < 1 << 20 ? n : 1 << 20;
		if (!SystemFunction036(data, part)) return FALSE;
	}
	return TRUE;
}
C
  x86_64-w64-mingw32-gcc -Os -s -shared -o "$WINEPREFIX/drive_c/windows/system32/bcryptprimitives.dll" "$tmp/prng.c" -ladvapi32 || exit 1
fi
at=$($GO env GOROOT)/src/internal/syscall/windows/at_windows.go
sed 's/case STATUS_INVALID_INFO_CLASS,/case NTStatus(0xC0000002), STATUS_INVALID_INFO_CLASS,/' "$at" >"$tmp/at_windows.go"
echo "{\"Replace\":{\"$at\":\"$tmp/at_windows.go\",\"$PWD/internal/pipeagent/main.go\":\"$tmp/pipeagent.go\"}}" >"$tmp/overlay.json"

failed=() passed=0
# tests PACKAGE [SKIPPED]
tests() {
  local name=${1//\//_}
  if ! GOOS=windows $GO test -overlay "$tmp/overlay.json" -c -o "$tmp/$name.test.exe" "./$1"; then
    failed+=("$1"); return
  fi
  # the folder with the package's testdata
  if (cd "$1" && timeout 200 wine "$tmp/$name.test.exe" -test.v -test.timeout 180s -test.skip "${2:-^$}") >"$tmp/out" 2>&1; then
    echo "ok  $1: $(grep -c '^--- PASS' "$tmp/out") tests, $(grep -c '^--- SKIP' "$tmp/out") skipped"
    passed=$((passed + $(grep -c '^--- PASS' "$tmp/out")))
  else
    grep -v '^=== \|^ *--- \(PASS\|SKIP\)' "$tmp/out" | head -60
    failed+=("$1")
  fi
  rm -f "$tmp/$name.test.exe"
}

tests agent 'TestAuditFiles|TestTokenProviders' # wine appends in two steps; links
tests internal/setup 'TestApply|TestKnownHostsCommandBounds|TestMemory'
tests knownhosts 'TestReplace$'      # links
for p in alias bastion internal/algo internal/authkeys internal/mux internal/packet internal/procs internal/proxied internal/rawpipe \
  internal/session internal/ssmsession internal/ssmwire internal/userauth internal/wire internal/zstream socks trace trace/pcapng; do
  tests $p
done
tests internal/relay 'TestPipeReset|TestPipeCancelled|TestPeerGone/read' # a read that begins behind a reset sees EOF
tests internal/transport 'TestExpandedIsBounded' # the lane is smaller there
tests sshconfig 'TestGolden|TestForwardAgentPath|TestOrderOfSources|TestFilesThatOthersCanWrite' # unix's paths and modes

# adit.exe as people use it, with an agent at the pipe of OpenSSH's service
cat >"$tmp/pipeagent.go" <<'GO'
package main

import (
	"context"
	"fmt"
	"os"

	gossh "golang.org/x/crypto/ssh"

	"github.com/adit-ssh/adit/agent"
	"github.com/adit-ssh/adit/internal/testnet"
)

func main() {
	pem, err := os.ReadFile(os.Args[1])
	if err != nil {
		panic(err)
	}
	key, err := gossh.ParseRawPrivateKey(pem)
	if err != nil {
		panic(err)
	}
	ring := &agent.Keyring{}
	if err := ring.Add(agent.AddedKey{PrivateKey: key, Comment: "in-the-pipe"}); err != nil {
		panic(err)
	}
	path, _ := agent.DefaultPath()
	l, err := testnet.ListenLocal(path)
	if err != nil {
		panic(err)
	}
	fmt.Println("listening")
	(&agent.Server{Agent: ring}).Serve(context.Background(), l)
}
GO
GOOS=windows $GO build -overlay "$tmp/overlay.json" -o "$tmp/pipeagent.exe" ./internal/pipeagent || exit 1
GOOS=windows $GO build -overlay "$tmp/overlay.json" -o "$tmp/adit.exe" ./cmd/adit || exit 1
port=22769
ssh-keygen -q -t ed25519 -N '' -f "$tmp/host"
ssh-keygen -q -t ed25519 -N '' -f "$tmp/id"
mkdir -p /run/sshd
echo "[127.0.0.1]:$port $(cut -d' ' -f1,2 "$tmp/host.pub")" >"$tmp/known"
chmod 700 "$tmp"
$(command -v sshd) -f /dev/null -h "$tmp/host" -p $port -o ListenAddress=127.0.0.1 -o PidFile="$tmp/pid" -o UsePAM=no -o StrictModes=no \
  -o AuthorizedKeysFile="$tmp/id.pub" -E "$tmp/sshd.log" || exit 1
adit() { timeout 60 wine "$tmp/adit.exe" "$@"; }
options=(-F none -o "UserKnownHostsFile=Z:${tmp//\//\\}\\known" -o StrictHostKeyChecking=yes -p $port)
to=("${options[@]}" -i "Z:${tmp//\//\\}\\id" "$(id -un)@127.0.0.1")
# want WHAT TEXT COMMAND…
want() {
  local what=$1 text=$2 got
  shift 2
  got=$("$@" 2>&1 | tr -d '\r\0')
  if [[ $got == *"$text"* ]]; then
    passed=$((passed + 1)); echo "ok  adit.exe: $what"
  else
    failed+=("adit.exe: $what"); printf 'adit.exe: %s: got %q, want %q in it\n' "$what" "$got" "$text"
  fi
}
status() { adit ssh "${to[@]}" 'exit 7' </dev/null; echo "status $?"; }
upper() { echo abc | adit ssh "${to[@]}" 'tr a-z A-Z'; }
stdio() { sleep 2 | adit ssh -W "127.0.0.1:$port" "${to[@]}" | head -c 20; }
forward() {
  timeout 20 wine "$tmp/adit.exe" ssh -N -L 127.0.0.1:22770:127.0.0.1:$port "${to[@]}" 2>&1 &
  for _ in $(seq 50); do
    timeout 3 bash -c 'exec 3<>/dev/tcp/127.0.0.1/22770 && head -c 20 <&3' 2>/dev/null && break
    sleep 0.2
  done
  wait
}
want 'a command' '127.0.0.1' adit ssh "${to[@]}" 'echo $SSH_CONNECTION' </dev/null
want 'its exit status' 'status 7' status
want 'its input' 'ABC' upper
want '-W' 'SSH-2.0-OpenSSH' stdio
want '-L' 'SSH-2.0-OpenSSH' forward
want 'doctor: no agent' 'the service ssh-agent does not run' adit doctor "${to[@]}" </dev/null
unset SSH_AUTH_SOCK
timeout 200 wine "$tmp/pipeagent.exe" "Z:${tmp//\//\\}\\id" >"$tmp/pipe.out" 2>&1 &
for _ in $(seq 100); do grep -q listening "$tmp/pipe.out" && break; sleep 0.2; done
by_agent=("${options[@]}" -o IdentityFile=none "$(id -un)@127.0.0.1")
behind="ssh -A -F none -p $port -o BatchMode=yes -o IdentityFile=none -o UserKnownHostsFile=$tmp/known 127.0.0.1"
want 'login by the agent in a named pipe' 'logged in' adit ssh "${by_agent[@]}" 'echo logged in' </dev/null
want 'that agent forwarded over two hosts' 'in-the-pipe' adit ssh -A "${by_agent[@]}" "$behind ssh-add -l" </dev/null
want 'doctor: the agent' 'has 1 keys' adit doctor "${by_agent[@]}" </dev/null
want 'an unknown host key' 'is not known' adit ssh -F none -o StrictHostKeyChecking=yes -o UserKnownHostsFile=none -p $port 127.0.0.1 true </dev/null

echo "wine: $(wine --version), $passed passed, ${#failed[@]} failed"
[ ${#failed[@]} = 0 ] || { printf '  %s\n' "${failed[@]}"; exit 1; }
