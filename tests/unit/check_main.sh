#!/bin/sh
# relaypoold's own life: start, background, readiness, lock, reload, clean and unclean ends. Runs the daemon that was just
# built in a directory of its own, as whoever runs the test. Run by make check.
set -eu

work=$(mktemp -d)
control=$work/run/control.sock
conf=$work/relaypool.conf
daemon=
stuck=
failed=0

end()
{
	for process in $daemon $stuck; do
		kill -9 "$process" 2>/dev/null || :
	done
	rm -rf "$work"
}
trap end EXIT

complain()
{
	echo "$*"
	sed 's/^/    /' "$work/log"
	failed=1
}

ctl()
{
	./relaypoolctl -s "$control" "$@"
}

# wait_for COMMAND...: until it is true, 20 s at most
wait_for()
{
	tries=200
	until "$@" >/dev/null 2>&1; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || return 1
		sleep 0.1
	done
}

# write_conf [LINE [LINE]]: a new file, with these lines at its end; whoever runs the test is the MTA
write_conf()
{
	cat >"$conf" <<-END
		milter = "unix:$work/milter.sock"
		lmtp = "unix:$work/lmtp.sock"
		control = "unix:$control"
		spool-directory = "$work/spool" allow-users = { "$(id -u)" }
		relay "nowhere" { host = "127.0.0.1" port = 9 tls = "none" }
		${1-}
		${2-}
	END
}

start()
{
	./relaypoold -f -c "$conf" 2>"$work/log" &
	daemon=$!
	wait_for ctl version || complain 'it does not start'
}

# stop SIGNAL: the exit code goes to $code
stop()
{
	code=0
	kill "-$1" "$daemon"
	wait "$daemon" || code=$?
	daemon=
}

said()
{
	grep -q -- "$1" "$work/log" || complain "the log does not say: $1"
}

: >"$work/log"

# ---- the command line ----

write_conf
./relaypoold -t -c "$conf" >/dev/null || complain '-t refuses a valid configuration'
write_conf 'nonsense = 1'
./relaypoold -t -c "$conf" 2>"$work/log" && complain '-t takes a configuration that is not valid'
said 'relaypool.conf:6: unknown key nonsense'
write_conf
sed -i 's/^milter.*/milter = "inet:8891@192.0.2.1"/' "$conf"
./relaypoold -t -c "$conf" >/dev/null 2>"$work/log" || complain '-t refuses what is only unwise'
said '^warning: .*relaypool.conf:1: milter: '
./relaypoolctl -c "$conf" check >"$work/log" || complain 'check refuses what is only unwise'
said '^warning: .*relaypool.conf:1: milter: '
write_conf 'nonsense = 1'
./relaypoold -f -c "$conf" 2>"$work/log" && complain 'it starts with a configuration that is not valid'
said 'fatal: .*relaypool.conf:6: unknown key nonsense'
code=0
./relaypoold -x 2>/dev/null || code=$?
[ $code = 2 ] || complain "a wrong option has exit code $code"
for wrong in -x --nonsense nonsense; do
	code=0
	./relaypoold $wrong 2>"$work/log" || code=$?
	[ $code = 2 ] && [ "$(wc -l <"$work/log")" = 2 ] || complain "$wrong has exit code $code"
	said "^relaypoold: \"relaypoold --help\" lists the options$"
done
said '^relaypoold: there are no arguments but options, and "nonsense" is none$'
for way in -h --help; do
	./relaypoold $way >"$work/log" || complain "$way is a mistake"
	said '^usage: relaypoold'
done

# ---- start, and a clean end ----

write_conf
start
said 'start: version=.*, relays=1, routes=1, unclean=no'
[ -S "$work/lmtp.sock" ] && [ -S "$work/milter.sock" ] || complain 'a socket is missing'
[ "$(stat -c %a "$work/spool")" = 700 ] || complain 'the spool directory is open to others'
[ -e "$work/run/flush" ] || complain 'no flush was requested after the start'

./relaypoold -f -c "$conf" 2>"$work/second" && complain 'a second daemon starts'
grep -q 'another relaypoold runs' "$work/second" || complain "the second daemon says: $(cat "$work/second")"
ctl status >/dev/null || complain 'the second daemon has disturbed the first'

stop TERM
[ $code = 0 ] || complain "SIGTERM ends with $code"
said 'stop: version=.*, drained=yes'
for file in lmtp.sock milter.sock run/control.sock spool/running; do
	[ ! -e "$work/$file" ] || complain "$file is left behind"
done

# ---- an unclean end ----

start
said 'unclean=no'
stop KILL
start
said 'unclean=yes'
stop TERM
[ $code = 0 ] || complain "soon after an unclean start it ends with $code"
start
said 'unclean=yes' # the relays may not yet have seen the end of what was killed
sleep 8
stop TERM
start
said 'unclean=no'

# A relay that does not answer the end of data, and a message for it.
cat >"$work/stuck.py" <<'END'
import socket, sys, threading, time

work = sys.argv[1]
relay = socket.create_server(("127.0.0.1", 0))


def be_stuck():
    connection = relay.accept()[0]
    connection.sendall(b"220 relay\r\n")
    for line in connection.makefile("rb"):
        if line.startswith(b"DATA"):
            connection.sendall(b"354 go on\r\n")
            break
        connection.sendall(b"250 fine\r\n")
    open(work + "/stuck", "w").close()
    time.sleep(60)


threading.Thread(target=be_stuck, daemon=True).start()
with open(work + "/port", "w") as file:
    file.write(str(relay.getsockname()[1]))
client = socket.socket(socket.AF_UNIX)
client.settimeout(60)
while client.connect_ex(work + "/lmtp.sock") != 0:
    time.sleep(0.1)
replies = client.makefile("rb")
replies.readline()
for line in b"LHLO client", b"MAIL FROM:<>", b"RCPT TO:<to@test>", b"DATA", b"Subject: x\r\n\r\nx\r\n.":
    client.sendall(line + b"\r\n")
    while replies.readline()[3:4] == b"-":
        pass
END
if command -v python3 >/dev/null; then
	stop TERM
	python3 "$work/stuck.py" "$work" &
	stuck=$!
	wait_for test -s "$work/port" || complain 'there is no port for the relay that is stuck'
	sed -i "s/port = 9 /port = $(cat "$work/port") /" "$conf"
	start
	said 'unclean=no'
	wait_for test -e "$work/stuck" || complain 'the relay that is stuck is given no message'
	kill -TERM "$daemon"
	wait_for grep -q 'drain: ' "$work/log" || complain 'SIGTERM does not drain'
	kill -HUP "$daemon"
	wait_for grep -q 'reload: the running configuration stays: relaypoold is stopping' "$work/log" ||
		complain 'SIGHUP while it drains goes without a word'
	stop TERM
	[ $code = 0 ] || complain "a second SIGTERM ends with $code"
	said 'stop: version=.*, drained=no'
	wait "$stuck" || complain 'the MTA got no verdict'
	stuck=
	write_conf
	start
	said 'unclean=yes'
	stop TERM
	rm "$work/spool/running"
	start
fi

# ---- signals ----

# One that comes with SIGCONT does not find the main thread ready, and must not go to a library's thread.
for try in 1 2 3 4 5; do
	kill -STOP "$daemon"
	kill -TERM "$daemon"
	kill -CONT "$daemon"
	if ! wait_for test ! -e "$work/spool/running"; then
		complain "SIGTERM was lost at try $try"
		kill -9 "$daemon"
	fi
	wait "$daemon" || complain "SIGTERM after SIGSTOP ends with $?"
	start
done

# ---- reload ----

write_conf 'deadline = 500'
kill -HUP "$daemon"
wait_for grep -q 'reload: path=' "$work/log" || complain 'SIGHUP does not reload'
ctl config | grep -qx 'deadline = 500' || complain 'a reload does not change the configuration'
write_conf 'deadline = never'
kill -HUP "$daemon"
wait_for grep -q 'error: reload: the running configuration stays' "$work/log" || complain 'a bad reload is not logged'
ctl config | grep -qx 'deadline = 500' || complain 'a bad reload changes the configuration'
code=0
ctl reload 2>"$work/answer" || code=$?
[ $code = 1 ] && grep -q 'relaypool.conf:6' "$work/answer" || complain "a bad reload answers $code, $(cat "$work/answer")"
write_conf
sed -i 's/milter.sock/elsewhere.sock/' "$conf"
for time in first second; do
	ctl reload | grep -q 'needs a restart to take effect: milter' ||
		complain "the $time time nobody is told that milter needs a restart"
done
ctl status | grep -q "unix:$work/milter.sock" || complain 'status shows a milter socket that is not there'
stop INT
[ $code = 0 ] || complain "SIGINT ends with $code"

# ---- privileges ----

if [ "$(id -u)" = 0 ]; then
	rm -rf "$work/spool" "$work/run"
	chmod 755 "$work"
	echo secret >"$work/password"
	chmod 600 "$work/password"
	write_conf 'user = "nobody"' \
		"relay \"closed\" { host = \"127.0.0.1\" username = \"u\" password-file = \"$work/password\" }"
	./relaypoold -t -c "$conf" >"$work/answer" 2>"$work/log" || complain '-t refuses what root can read'
	said "^warning: a reload would fail, since user nobody cannot read what root can: .*$work/password: Permission"
	grep -q 'is valid' "$work/answer" || complain '-t as root does not say that the file is valid'
	chown nobody "$work/password"
	./relaypoold -t -c "$conf" >/dev/null 2>"$work/log" || complain '-t refuses what both can read'
	[ ! -s "$work/log" ] || complain '-t warns of what the user can read'
	write_conf 'user = "nobody"'
	start
	! grep -E '^(Uid|Gid|Groups):' /proc/"$daemon"/status | grep -qw 0 || complain 'the daemon is still root'
	for file in run run/control.sock lmtp.sock milter.sock spool spool/tag.key; do
		[ "$(stat -c %U "$work/$file")" = nobody ] || complain "$file does not belong to the daemon's user"
	done
	for file in run/control.sock lmtp.sock milter.sock; do
		[ "$(stat -c %g "$work/$file")" = "$(id -g nobody)" ] || complain "$file has not the daemon's group"
	done
	write_conf 'user = "nobody"' 'socket-mode = "0600"'
	ctl reload >/dev/null || complain 'without root it cannot reload'
	[ "$(stat -c %a "$work/lmtp.sock")" = 600 ] || complain 'without root it cannot change the mode of its socket'
	stop TERM
	[ $code = 0 ] || complain "without root it ends with $code"
	chgrp daemon "$work"
	chmod 2755 "$work"
	start
	stat -c %G "$work/lmtp.sock" "$work/milter.sock" | grep -qvx daemon &&
		complain 'a socket has not the group of its directory, which is setgid'
	stop TERM
	chmod 0755 "$work"
fi

# ---- background ----

rm -rf "$work/spool" "$work/run"
write_conf
sed -i 's/lmtp.sock/missing\/lmtp.sock/' "$conf"
./relaypoold -c "$conf" 2>"$work/log" && complain 'it goes to the background without its sockets'
said "$work/missing"
[ ! -e "$work/spool/running" ] || complain 'a start that failed looks like an unclean end'
write_conf
./relaypoold -c "$conf" || complain 'it does not go to the background'
daemon=$(cat "$work/spool/running")
ctl status >/dev/null || complain 'the command ended before the daemon was ready'
# Nobody but root may look into it.
[ "$(id -u)" != 0 ] || [ "$(readlink /proc/"$daemon"/cwd)" = / ] || complain 'the daemon holds a directory'
kill -TERM "$daemon"
wait_for test ! -e "$work/spool/running" || complain 'the daemon in the background does not end'
daemon=

# ---- a service manager ----

NOTIFY_SOCKET=$work/nobody ./relaypoold -c "$conf" 2>"$work/log" &
daemon=$!
wait_for ctl version || complain 'it does not start below a service manager'
[ "$(cat "$work/spool/running")" = "$daemon" ] || complain 'it leaves its service manager'
stop TERM
[ $code = 0 ] || complain "below a service manager it ends with $code"

exit $failed
