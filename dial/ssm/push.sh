# Lets a key log in as a user for a while: adit runs this as root on a node, with
# these variables set before it. It leaves nothing behind but a log of AWS's.
#
#   adit_act   add: add the line, and remove it after adit_life seconds, whatever
#              becomes of adit, or as soon as that works; remove: remove it now
#   adit_user  whose authorized_keys it is
#   adit_mark  what tells the line from all others
#   adit_line  the line
set -eu
umask 077
home=$(getent passwd "$adit_user" 2>/dev/null | cut -d: -f6)
[ -n "$home" ] || home=$(ADIT=$adit_user awk -F: '$1 == ENVIRON["ADIT"] { print $6 }' /etc/passwd)
if [ -z "$home" ]; then
	printf 'there is no user %s on the node\n' "$adit_user" >&2
	exit 64
fi
if [ ! -d "$home" ]; then
	printf 'the user %s has no home folder on the node\n' "$adit_user" >&2
	exit 65
fi
adit_dir=$home/.ssh
export adit_act adit_mark adit_line adit_dir

# All in the user's folder is done as the user: root would follow links there.
adit_do=$(cat <<'END'
set -eu
umask 077
LC_ALL=C # lines are bytes, whatever a comment in them is written in
export LC_ALL
file=$adit_dir/authorized_keys
if [ "$adit_act" = add ]; then
	[ -d "$adit_dir" ] || mkdir "$adit_dir"
else
	[ -f "$file" ] || exit 0
fi
# One change at a time, so that none is lost.
exec 9<"$adit_dir"
if command -v flock >/dev/null; then flock -w 5 9 || :; fi
file=$(readlink -f "$file" 2>/dev/null || echo "$file")
if [ "$adit_act" = add ]; then
	if [ ! -w "${file%/*}" ]; then
		printf 'the key could not be removed again, since the user may not write in %s\n' "${file%/*}" >&2
		exit 66
	fi
	if [ -f "$file" ] && grep -qF -- "$adit_mark" "$file"; then exit 0; fi
	[ ! -s "$file" ] || [ -z "$(tail -c 1 "$file")" ] || echo >>"$file"
	printf '%s\n' "$adit_line" >>"$file"
	if command -v restorecon >/dev/null; then restorecon "$adit_dir" "$file" 2>/dev/null || :; fi
	exit 0
fi
grep -qF -- "$adit_mark" "$file" || exit 0
left=$(mktemp "$file.XXXXXX")
trap 'rm -f "$left"' EXIT
before=$(cksum <"$file")
cp -p "$file" "$left"
sed "/$adit_mark/d" "$file" >"$left"
# Not everybody who writes there has our lock.
[ "$(cksum <"$file")" = "$before" ]
if [ -s "$left" ]; then mv -f "$left" "$file"; else rm -f "$file"; fi
END
)
as_user() {
	if [ "$(id -un)" = "$adit_user" ]; then
		sh -c "$adit_do"
	elif command -v runuser >/dev/null; then
		runuser -u "$adit_user" -- sh -c "$adit_do"
	else
		su -s /bin/sh "$adit_user" -c "$adit_do"
	fi
}
as_user
[ "$adit_act" = add ] || exit 0
(
	trap '' HUP
	sleep "$adit_life"
	adit_act=remove
	adit_tries=60
	until as_user || [ "$adit_tries" -eq 0 ]; do
		adit_tries=$((adit_tries - 1))
		sleep "$adit_life"
	done
) </dev/null >/dev/null 2>&1 &
