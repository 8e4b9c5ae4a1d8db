#!/bin/sh
# What the packages say when they are removed: which MTA still hands its mail to relaypool, however it was set up, and the
# command that gives it back what it had. Run by make check.
set -eu

script=${srcdir:-.}/packaging/removal-notice
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
ours='smtp_header_checks = regexp:$config_directory/relaypool_header_checks'
undo='relaypoolctl setup postfix --undo --reload'

# postconf(1), as far as it is asked: what FIRST/main.cf has, or DIRECTORY/main.cf after -c.
mkdir "$work/bin" "$work/first" "$work/second" "$work/setup"
cat >"$work/bin/postconf" <<END
#!/bin/sh
directory=$work/first
while :; do
	case \$1 in
	-c) directory=\$2; shift 2 ;;
	-*) shift ;;
	*) break ;;
	esac
done
[ "\$1" != config_directory ] || { echo "\$directory"; exit; }
[ -e "\$directory/main.cf" ] || { echo "postconf: fatal: open \$directory/main.cf: No such file or directory" >&2; exit 1; }
for name; do
	grep -s "^\$name = " "\$directory/main.cf" | sed 's/^[^=]*= //'
done
exit 0
END
chmod 755 "$work/bin/postconf"

notice()
{
	PATH=$work/bin:$PATH RELAYPOOL_SETUP_DIRECTORY=$work/setup RELAYPOOL_SENDMAIL_CF=$work/sendmail.cf sh "$script"
}

# expect COMMAND [SETTING]...: what is said where Postfix has these settings; COMMAND is empty where nothing may be said.
expect()
{
	command=$1
	shift
	printf '%s\n' "$@" >"$work/first/main.cf"
	code=0
	notice >"$work/output" 2>"$work/said" || code=$?
	sed -n 's/^    \(.*relaypoolctl .*\)/\1/p' "$work/said" >"$work/commands"
	if [ "$(cat "$work/commands")" != "$command" ] || { [ "$code" = 0 ] && [ -n "$command" ]; } || { [ "$code" != 0 ] && [ -z "$command" ]; } || [ -s "$work/output" ]; then
		echo "with: $*" "was said, code $code:" "$(cat "$work/said")" "wanted: $command"
		failed=1
	fi
}

expect '' 'smtpd_milters = inet:localhost:8891' 'relayhost = [smtp.example.org]'
expect "$undo" 'default_transport = relaypool:unix:relaypool/lmtp.sock' "$ours"
# Sockets whose names tell nothing.
expect "$undo" 'default_transport = relaypool:[127.0.0.1]:10025'
expect "$undo" 'smtpd_milters = { inet:127.0.0.1:2425, default_action=accept }' "$ours"
expect "$undo" 'transport_maps = inline:{ { example.org = relaypool:inet:127.0.0.1:2424 } }'
expect "$undo" 'non_smtpd_milters = { unix:relaypool/milter.sock, default_action=accept }'

# Another instance; Postfix does not ask for a name.
others="multi_instance_directories = $work/second"
printf '%s\n' 'multi_instance_name = postfix-out' "$ours" >"$work/second/main.cf"
expect 'relaypoolctl setup postfix -i postfix-out --undo --reload' "$others"
printf '%s\n' 'multi_instance_name = ' "$ours" >"$work/second/main.cf"
expect "MAIL_CONFIG=$work/second $undo" "$others"
rm "$work/second/main.cf"
expect '' "$others"

echo 'Mrelaypool, P=[IPC], F=kmXz, T=DNS/RFC822/SMTP, A=FILE /run/relaypool/lmtp.sock' >"$work/sendmail.cf"
expect 'relaypoolctl setup sendmail --undo --reload' 'relayhost ='
rm "$work/sendmail.cf"

# The MTA is gone, and what it had is kept.
mkdir "$work/setup/postfix"
echo '{}' >"$work/setup/postfix/state.json"
notice 2>"$work/said" && failed=1
grep -q "stays in $work/setup/postfix\\.\$" "$work/said" || { cat "$work/said"; failed=1; }

exit $failed
