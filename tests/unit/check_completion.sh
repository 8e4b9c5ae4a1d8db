#!/bin/sh
# What bash completes: every verb and option that the programs have and none that they have not, and the names of the
# relays of a daemon that runs, hangs, or is not there. Without bash-completion's own library. Run by make check.
set -eu

command -v bash >/dev/null || {
	echo 'skipped: there is no bash'
	exit 77
}
source=${srcdir:-.}
work=$(mktemp -d)
daemon=
failed=0

end()
{
	[ -z "$daemon" ] || kill -9 "$daemon" 2>/dev/null || :
	rm -rf "$work"
}
trap end EXIT

complain()
{
	echo "$*"
	failed=1
}

# completed COMMAND [WORD]... "": what bash offers for the last word, "(files)" where it completes files
cat >"$work/complete.bash" <<'END'
compopt() { [[ $* == "-o default" ]] && echo "(files)"; }
source "$1" || exit
COMP_WORDS=("${@:2}")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
function=$(complete -p "${2##*/}" | sed 's/.*-F \([^ ]*\) .*/\1/')
"$function" "$2" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
[[ ${COMPREPLY[*]} ]] && printf '%s\n' "${COMPREPLY[@]}"
:
END
completed()
{
	bash --norc "$work/complete.bash" "$source/packaging/bash-completion/${1##*/}" "$@"
}

# expect "RESULT" COMMAND [WORD]...
expect()
{
	wanted=$1
	shift
	found=$(completed "$@" | tr '\n' ' ')
	[ "$found" = "${wanted:+$wanted }" ] || complain "\"$*\" is completed as \"$found\", not \"$wanted\""
}

# same "WHAT" FILE FILE: sorted lists that have to be equal
same()
{
	comm -3 "$2" "$3" | grep . >"$work/differ" || return 0
	complain "$1; without an indent only in the program, with one only in its completion:"
	cat "$work/differ"
}

ctl=./relaypoolctl

# ---- verbs ----

"$ctl" help | sed -n 's/^  \([a-z][a-z-]*\)  *\(.*\)$/\1 \2/p' >"$work/table"
cut -d ' ' -f 1 "$work/table" | sort >"$work/verbs"
[ -s "$work/verbs" ] || complain 'help lists no verbs'
completed "$ctl" '' | sort >"$work/found"
same 'verbs' "$work/verbs" "$work/found"

# ---- options ----

# As getopt_long(3) is given them.
{
	sed -n 's/.*{"\([a-z]*\)", [a-z]*_argument,.*/--\1/p' "$source/milter/ctl.c" "$source"/milter/ctl/*.[ch]
	echo --help # COMMON_WORD, in a macro
	sed -n 's/.*COMMON_OPTIONS "\([a-z:]*\)".*/\1/p' "$source/milter/ctl.c" "$source"/milter/ctl/*.[ch] |
		tr -d ':\n' | sed 's/./-&\n/g'
} | sort -u >"$work/options"
[ "$(grep -cx -e -i -e --domain "$work/options")" = 2 ] || complain 'the options are not found'
# All that is offered anywhere, each with the command line before it.
while read -r words; do
	# shellcheck disable=SC2086  # the command line is words
	completed "$ctl" $words - | sed "s/^/$words /"
done >"$work/lines" <<-END

	$(cat "$work/verbs")
	setup postfix
	setup postfix --check
	setup postfix --apply
	setup postfix --undo
	setup sendmail
	setup sendmail --check
	setup sendmail --apply
	setup sendmail --undo
END
sed 's/.* //' "$work/lines" | sort -u >"$work/found"
same 'options' "$work/options" "$work/found"

# Each of them goes with its verb. The mail server's configuration is not touched for that.
grep -v -e '--apply' -e '--undo' -e '-i$' -e '^setup -' "$work/lines" >"$work/harmless"
while read -r words; do
	option=${words##* }
	verb=${words%% *}
	value=
	case $option in
	-d) value=1 ;;
	-c | -s | --mc) value=$work/none ;;
	--from | --domain) value=example.org ;;
	esac
	case $verb in
	-d) value='1 top' ;; # before the verb
	-c) value="$value check" ;;
	why) value="$value ID" ;;
	test-route) value="$value nobody@example.org" ;;
	setup) value="$value -c $work/none" ;;
	esac
	code=0
	# shellcheck disable=SC2086
	"$ctl" -s "$work/none" $words $value >"$work/output" 2>&1 </dev/null || code=$?
	[ $code != 2 ] || complain "\"$words\" is completed but refused: $(cat "$work/output")"
done <"$work/harmless"
[ "$(wc -l <"$work/harmless")" -gt 60 ] || complain 'hardly an option was tried'

expect '--apply' "$ctl" setup postfix --a
expect '--domain --reload --force' "$ctl" setup postfix --apply -c relaypool.conf -j -s socket --help -i name -
expect '--reload' "$ctl" setup sendmail --undo --r
expect '' "$ctl" setup sendmail --undo --d
expect '--domain' "$ctl" setup postfix --check --domain example.org --d
expect '' "$ctl" pools -j -j

# ---- arguments ----

expect 'postfix sendmail' "$ctl" setup ''
expect 'sendmail' "$ctl" -j -c relaypool.conf setup s
expect 'all shape' "$ctl" stalls ''
expect '' "$ctl" setup postfix ''
expect '' "$ctl" test-route ''
expect '' "$ctl" setup postfix --domain ''
expect '' "$ctl" test-route --from = ''
expect '' "$ctl" top -d ''
expect 'pause' "$ctl" -js socket pau
for words in '-s' '-js' '-c' 'setup sendmail --mc' 'setup sendmail --mc =' 'check -jc'; do
	# shellcheck disable=SC2086
	expect '(files)' "$ctl" $words ''
done
expect '(files)' "$ctl" setup sendmail --mc =

# ---- names ----

cat >"$work/relaypool.conf" <<-END
	milter = "unix:$work/milter.sock"
	lmtp = "unix:$work/lmtp.sock"
	control = "unix:$work/control.sock"
	spool-directory = "$work/spool"
	relay "alpha" { host = "127.0.0.1" port = 9 tls = "none" }
	relay "beta.2" { host = "127.0.0.1" port = 9 tls = "none" }
END
./relaypoold -f -c "$work/relaypool.conf" 2>"$work/log" &
daemon=$!
tries=200
until "$ctl" -s "$work/control.sock" version >/dev/null 2>&1; do
	tries=$((tries - 1))
	[ $tries -gt 0 ] || { complain 'relaypoold does not start'; cat "$work/log"; break; }
	sleep 0.1
done
grep -F '[RELAY]' "$work/table" | cut -d ' ' -f 1 >"$work/relays"
[ -s "$work/relays" ] || complain 'no verb takes a relay'
while read -r verb; do
	case $verb in
	latency) names='- alpha beta.2' ;;
	*) names='alpha beta.2' ;;
	esac
	expect "$names" "$ctl" -s "$work/control.sock" "$verb" ''
	expect 'beta.2' "$ctl" "$verb" "-s$work/control.sock" b
	expect '' "$ctl" -s "$work/control.sock" "$verb" alpha ''
done <"$work/relays"
kill -STOP "$daemon"
begin=$(date +%s)
expect '' "$ctl" -s "$work/control.sock" pools ''
[ $(($(date +%s) - begin)) -lt 5 ] || complain 'completion waits for a daemon that hangs'
kill -9 "$daemon"
wait "$daemon" 2>/dev/null || :
daemon=
expect '' "$ctl" -s "$work/control.sock" pools ''

# Programs that answer for those that need an installation; one answer is not meant well.
mkdir "$work/bin"
cat >"$work/bin/relaypoolctl" <<-END
	#!/bin/sh
	[ "\$*" = '-j providers' ] && echo '{"schema":1,"providers":[{"name":"ses","host":"x"},{"name":"sparkpost"}]}'
	[ "\$*" = '-j pools' ] && echo '{"pools":[{"relay":"\$(touch $work/trap)"},{"relay":"alpha","state":"up"}]}'
END
cat >"$work/bin/postmulti" <<-END
	#!/bin/sh
	[ "\$*" = -l ] && printf '%-15s %-15s y /etc/postfix\n' - - postfix-out mta '\$(touch $work/trap)' -
END
chmod 755 "$work/bin"/*
expect 'ses sparkpost' "$work/bin/relaypoolctl" providers ''
expect 'sparkpost' "$work/bin/relaypoolctl" -j providers sp
expect 'alpha' "$work/bin/relaypoolctl" pause ''
PATH=$work/bin:$PATH expect 'postfix-out' "$ctl" setup postfix -i ''
[ ! -e "$work/trap" ] || complain 'what a name contains is run'

# ---- relaypoold ----

./relaypoold --help | grep '^  -' | grep -o -e '--*[a-zA-Z]*[ ,]' | tr -d ' ,' | sort >"$work/options"
[ -s "$work/options" ] || complain 'relaypoold lists no options'
completed ./relaypoold - | sort >"$work/found"
same "relaypoold's options" "$work/options" "$work/found"
expect '(files)' ./relaypoold -fc ''
expect '' ./relaypoold ''

exit $failed
