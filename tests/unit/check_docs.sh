#!/bin/sh
# What the sources and the manual promise each other: pages without warnings, rooms that include only rooms to their
# left, every line of the log in relaypool-log(7), every preset installed, and one version. Run by make check.
set -eu

cd "${srcdir:-.}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

complain()
{
	echo "$*"
	failed=1
}

# ---- pages ----

if command -v mandoc >/dev/null; then
	for page in milter/*.[578]; do
		mandoc -T lint -W warning "$page" >"$work/lint" || complain "mandoc complains: $(cat "$work/lint")"
	done
else
	echo 'mandoc is not installed: the form of the pages is not checked'
fi

# ---- rooms ----

# rooms ROOM ALLOWED...: what the files of a room include, of ours
rooms()
{
	room=$1
	allowed=$(echo "$*" | tr ' ' '|')
	grep -rn '^#include "' milter/"$room" include/"$room" >"$work/includes" || :
	grep -vE ":#include \"(($allowed)/[a-z0-9_]+|relaypool|[a-z0-9_]+)\.h\"" "$work/includes" >"$work/strangers" || :
	[ ! -s "$work/strangers" ] || complain "room $room may include only: $*" "$(cat "$work/strangers")"
}

rooms base
rooms smtp base
rooms relay base smtp
rooms ingest base smtp relay
rooms observe base smtp
rooms setup base

# ---- log lines ----

# LEVEL <tab> FILE <tab> FORMAT of every call of log_*(); a format may go over several literals and lines. The
# milter's warn_once() has whole sentences for what it logs as "milter: %s".
cat >"$work/formats.awk" <<'AWK'
{ text = text $0 "\n" }
function skip_space() { sub(/^[ \t\n]+/, "", text) }
function literal(    out) { # at a quote; the text of adjacent literals
	out = ""
	while (substr(text, 1, 1) == "\"") {
		match(text, /^"([^"\\]|\\.)*"/)
		out = out substr(text, 2, RLENGTH - 2)
		text = substr(text, RLENGTH + 1)
		skip_space()
		while (match(text, /^PRI[a-zA-Z0-9]+/)) { # its conversion begins with the % before
			out = out "u"
			text = substr(text, RLENGTH + 1)
			skip_space()
		}
	}
	return out
}
END {
	while (match(text, /[^a-z_](log_(info|notice|warning|error|fatal)|warn_once)\(/)) {
		call = substr(text, RSTART + 1, RLENGTH - 2)
		text = substr(text, RSTART + RLENGTH)
		skip_space()
		if (substr(text, 1, 12) == "const char *" || substr(text, 1, 13) == "atomic_flag *") # its definition
			continue
		if (call == "warn_once")
			sub(/^[^,]*,[ \t\n]*/, "", text)
		format = substr(text, 1, 1) == "\"" ? literal() : "(not a literal)"
		if (call == "warn_once")
			print "warning\t" file "\tmilter: " format
		else if (format != "milter: %s")
			print substr(call, 5) "\t" file "\t" format
	}
}
AWK
for source in $(find milter -name '*.c'); do
	awk -v file="$source" -f "$work/formats.awk" "$source"
done >"$work/formats"

# The lines of the manual are ".It Li" with the whole line as one word.
sed -n 's/^\.It Li "\(.*\)"$/\1/p' milter/relaypool-log.7 | sed 's/""/"/g; s/\\&//g; s/\\-/-/g' >"$work/lines"

tab=$(printf '\t')
: >"$work/patterns"
while IFS="$tab" read -r level source format; do
	case $level in
	warning | error | fatal) format="$level: $format" ;;
	esac
	# A conversion may stand for anything, everything else for itself.
	pattern=$(printf '%s\n' "$format" | sed 's/\\"/"/g; s/%%/\x01/g; s/%[-0-9.*lzhj]*[a-zA-Z]/\x02/g; s/[][\\.*^$+?(){}|]/\\&/g; s/\x02/.*/g; s/\x01/%/g')
	printf '%s\n' "$pattern" >>"$work/patterns"
	grep -qxE -e "$pattern" "$work/lines" || complain "$source: not in relaypool-log(7): $format"
done <"$work/formats"

# Written by the logger itself.
echo 'warning: log: dropped=.*' >>"$work/patterns"
while read -r line; do
	printf '%s\n' "$line" | grep -qxE -f "$work/patterns" || complain "relaypool-log(7) has a line that nothing writes: $line"
done <"$work/lines"
[ -s "$work/formats" ] && [ -s "$work/lines" ] || complain 'no log lines were found'

# ---- presets ----

for preset in contrib/providers/*.conf; do
	grep -q "[[:space:]]$preset\\>" Makefile.am || complain "$preset is not installed by Makefile.am"
done

# ---- packages ----

# The sockets' directory is relaypool's, who may have put a link there: what root does in it follows none.
for script in packaging/debian/relaypool.p* packaging/rpm/relaypool.spec.in; do
	grep -HnE '(chgrp|chown|chmod) .*(sockets|spool)|sockets.* (chgrp|chown|chmod) ' "$script" | grep -vE 'ch(grp|own) -h ' >"$work/follows" || :
	[ ! -s "$work/follows" ] || complain "this follows a link: $(cat "$work/follows")"
done

# ---- version ----

# configure.ac states it. The first entries of NEWS and of both packages' changelogs, with a revision behind, repeat it.
version=$(sed -n 's/^AC_INIT(\[relaypool\], \[\([^]]*\)\].*/\1/p' configure.ac)
[ -n "$version" ] || complain 'configure.ac states no version'
news=$(sed -n '1s/^relaypool \([^ ]*\) ([^()]*)$/\1/p' NEWS)
[ "$news" = "$version" ] || complain "NEWS begins with version '$news', configure.ac has $version"
if [ -e packaging/debian/changelog ]; then
	debian=$(sed -n '1s/^relaypool (\([0-9]*:\)\{0,1\}\([^)]*\)-[^-)]*) .*/\2/p' packaging/debian/changelog)
	[ "$debian" = "$version" ] || complain "Debian's changelog begins with version '$debian', configure.ac has $version"
	mangle=$(sed -n 's/.*\buversionmangle=\([^, ]*\).*/\1/p' packaging/debian/watch)
	for upstream in "$version" 1.0.0~rc1 1.0.0-rc1 1.0.0rc1; do
		known=$(echo "$upstream" | sed -E "$mangle")
		case $upstream in
		"$version") wanted=$version ;;
		*) wanted=1.0.0~rc1 ;;
		esac
		[ "$known" = "$wanted" ] || complain "debian/watch makes $known of the tarball's version $upstream"
	done
fi
fedora=$(sed -n '/^%changelog$/{n;s/^\* .* - \([^ ]*\)-[^-]*$/\1/p}' packaging/rpm/relaypool.spec.in)
[ "$fedora" = "$version" ] || complain "the changelog of relaypool.spec.in begins with version '$fedora', configure.ac has $version"

exit $failed
