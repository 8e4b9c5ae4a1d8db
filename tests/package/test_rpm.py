#!/usr/bin/python3
"""The packages for Fedora and EL, built here by `make rpm': what is in them and what their scripts do. Run by run.py, and
by itself, where no root is needed and only the last test is left out:

    test_rpm.py [--twice]

RELAYPOOL_BUILD names the build directory.

--twice builds them twice more, the second time of sources with other times, and compares. There is no Fedora
here: that dnf finds what they depend on, and that a policy is enforced, is not shown.
"""
import bz2
import fcntl
import glob
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "integration"))
from lib import settings  # noqa: E402
from lib.build import build, copy_source  # noqa: E402
from lib.scene import equal  # noqa: E402

PACKAGES = ("postfix",)
POLICY = "/usr/share/selinux/devel/Makefile"
TO_CIL = "/usr/libexec/selinux/hll/pp"
SOURCES = ("configure.ac", "Makefile.am", "NEWS", "contrib", "include", "milter", "packaging")

# Mode, owner, group, kind (c configuration, n not replaced, d documentation, l licence, g not in the package), path.
FILES = """
drwxr-xr-x root root - /etc/relaypool
drwxr-x--- root relaypool - /etc/relaypool/credentials.d
-rw-r--r-- root root cn /etc/relaypool/relaypool.conf
-rw-r--r-- root root - /usr/lib/systemd/system/relaypool-flush.path
-rw-r--r-- root root - /usr/lib/systemd/system/relaypool-flush.service
-rw-r--r-- root root - /usr/lib/systemd/system/relaypoold-control.socket
-rw-r--r-- root root - /usr/lib/systemd/system/relaypoold.service
-rw-r--r-- root root - /usr/lib/systemd/system/relaypoold.socket
-rw-r--r-- root root - /usr/lib/sysusers.d/relaypool.conf
-rw-r--r-- root root - /usr/lib/tmpfiles.d/relaypool.conf
-rwxr-xr-x root root - /usr/sbin/relaypoolctl
-rwxr-xr-x root root - /usr/sbin/relaypoold
-rw-r--r-- root root - /usr/share/bash-completion/completions/relaypoolctl
-rw-r--r-- root root - /usr/share/bash-completion/completions/relaypoold
drwxr-xr-x root root - /usr/share/doc/relaypool
-rw-r--r-- root root d /usr/share/doc/relaypool/NEWS
-rw-r--r-- root root d /usr/share/doc/relaypool/POSTFIX
-rw-r--r-- root root d /usr/share/doc/relaypool/README
-rw-r--r-- root root d /usr/share/doc/relaypool/README.fedora
-rw-r--r-- root root d /usr/share/doc/relaypool/SECURITY
-rw-r--r-- root root d /usr/share/doc/relaypool/SENDMAIL
-rw-r--r-- root root d /usr/share/doc/relaypool/SMARTHOST
drwxr-xr-x root root - /usr/share/doc/relaypool/examples
drwxr-xr-x root root - /usr/share/doc/relaypool/examples/grafana
-rw-r--r-- root root d /usr/share/doc/relaypool/examples/grafana/relaypool.json
drwxr-xr-x root root - /usr/share/doc/relaypool/examples/lnav
-rw-r--r-- root root d /usr/share/doc/relaypool/examples/lnav/relaypoold.json
drwxr-xr-x root root - /usr/share/doc/relaypool/examples/logcheck
-rw-r--r-- root root d /usr/share/doc/relaypool/examples/logcheck/relaypool
drwxr-xr-x root root - /usr/share/doc/relaypool/examples/mtail
-rw-r--r-- root root d /usr/share/doc/relaypool/examples/mtail/relaypoold.mtail
drwxr-xr-x root root - /usr/share/doc/relaypool/examples/nagios
-rw-r--r-- root root d /usr/share/doc/relaypool/examples/nagios/check_relaypool
drwxr-xr-x root root - /usr/share/doc/relaypool/examples/postfix
-rw-r--r-- root root d /usr/share/doc/relaypool/examples/postfix/header_checks
-rw-r--r-- root root d /usr/share/doc/relaypool/examples/postfix/main.cf.direct
-rw-r--r-- root root d /usr/share/doc/relaypool/examples/postfix/main.cf.queue
-rw-r--r-- root root d /usr/share/doc/relaypool/examples/postfix/master.cf.direct
-rw-r--r-- root root d /usr/share/doc/relaypool/examples/postfix/master.cf.queue
drwxr-xr-x root root - /usr/share/doc/relaypool/examples/prometheus
-rw-r--r-- root root d /usr/share/doc/relaypool/examples/prometheus/alerts.yml
drwxr-xr-x root root - /usr/share/licenses/relaypool
-rw-r--r-- root root l /usr/share/licenses/relaypool/COPYING
-rw-r--r-- root root d /usr/share/man/man5/relaypool.conf.5.gz
-rw-r--r-- root root d /usr/share/man/man7/relaypool-log.7.gz
-rw-r--r-- root root d /usr/share/man/man8/relaypoolctl.8.gz
-rw-r--r-- root root d /usr/share/man/man8/relaypoold.8.gz
drwxr-xr-x root root - /usr/share/relaypool
drwxr-xr-x root root - /usr/share/relaypool/providers
-rw-r--r-- root root - /usr/share/relaypool/providers/brevo.conf
-rw-r--r-- root root - /usr/share/relaypool/providers/fastmail.conf
-rw-r--r-- root root - /usr/share/relaypool/providers/generic.conf
-rw-r--r-- root root - /usr/share/relaypool/providers/gmail.conf
-rw-r--r-- root root - /usr/share/relaypool/providers/google-relay.conf
-rw-r--r-- root root - /usr/share/relaypool/providers/mailersend.conf
-rw-r--r-- root root - /usr/share/relaypool/providers/mailgun.conf
-rw-r--r-- root root - /usr/share/relaypool/providers/mailjet.conf
-rw-r--r-- root root - /usr/share/relaypool/providers/office365.conf
-rw-r--r-- root root - /usr/share/relaypool/providers/postmark.conf
-rw-r--r-- root root - /usr/share/relaypool/providers/sendgrid.conf
-rw-r--r-- root root - /usr/share/relaypool/providers/ses.conf
-rw-r--r-- root root - /usr/share/relaypool/providers/socketlabs.conf
-rw-r--r-- root root - /usr/share/relaypool/providers/sparkpost.conf
-rw-r--r-- root root - /usr/share/relaypool/providers/zoho.conf
-rwxr-xr-x root root - /usr/share/relaypool/removal-notice
drwxr-xr-x root root - /usr/share/relaypool/sendmail
drwxr-xr-x root root - /usr/share/relaypool/sendmail/feature
-rw-r--r-- root root - /usr/share/relaypool/sendmail/feature/relaypool.m4
drwxr-xr-x root root - /usr/share/sendmail-cf
drwxr-xr-x root root - /usr/share/sendmail-cf/feature
lrwxrwxrwx root root - /usr/share/sendmail-cf/feature/relaypool.m4
"""
SELINUX_FILES = """
---------- root root g /var/lib/selinux/targeted/active/modules/200/relaypool
drwxr-xr-x root root - /usr/share/doc/relaypool-selinux
-rw-r--r-- root root d /usr/share/doc/relaypool-selinux/README
drwxr-xr-x root root - /usr/share/licenses/relaypool-selinux
-rw-r--r-- root root l /usr/share/licenses/relaypool-selinux/COPYING
-rw-r--r-- root root - /usr/share/selinux/devel/include/distributed/relaypool.if
-rw-r--r-- root root - /usr/share/selinux/packages/targeted/relaypool.pp.bz2
"""
UNITS = "relaypoold.service relaypoold.socket relaypoold-control.socket relaypool-flush.path relaypool-flush.service"
# What each script has to say; the macros are those for a system that is not Fedora, and do the same.
SCRIPTS = {
    "PREIN": ["groupadd -r relaypool", "useradd -r -g relaypool -d /nonexistent -s /sbin/nologin -c relaypool relaypool"],
    "POSTIN": [],
    "PREUN": ["/usr/share/relaypool/removal-notice || :", f"disable --now {UNITS}"],
    "POSTUN": ["try-restart relaypoold.service", "rm -rf /var/spool/postfix/relaypool /run/relaypool /var/lib/relaypool"],
}
DISTRIBUTIONS = {"fc42": "fedora 42", "fc41": "fedora 41", "el9": "rhel 9", "el10": "rhel 10"}
# Who connects to the sockets, whatever domain relaypoold may be in.
CONNECT = ("postfix_cleanup_t", "postfix_smtp_t", "postfix_smtpd_t", "sendmail_t", "system_mail_t")


def output(*command, **options):
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **options)
    if result.returncode:
        raise AssertionError(f"{' '.join(command)} ended with {result.returncode}:\n{result.stdout[-4000:]}")
    return result.stdout


# ---- the build ----

def newest(source):
    """When the sources were changed last."""
    paths = [os.path.join(source, name) for name in SOURCES]
    paths += [os.path.join(directory, name) for top in paths for directory, _, names in os.walk(top) for name in names]
    return max(os.path.getmtime(path) for path in paths)


def options():
    """For make; the module cannot be built where there is no policy to build it with."""
    return "RPM_OPTIONS=--nocheck" + (" --with selinux" if os.path.exists(POLICY) else "")


def packages(source=settings.SOURCE):
    """{name: path} of what is in rpm/ of the build directory; built, unless that was done since the last change."""
    place = os.path.join(settings.BUILD, "rpm")
    with open(os.path.join(settings.BUILD, "rpm.lock"), "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = glob.glob(os.path.join(place, "*.rpm"))
        if not found or os.path.exists(os.path.join(place, "work")) or os.path.getmtime(found[0]) < newest(source):
            output("make", "rpm", options(), cwd=settings.BUILD)
    return by_name(place)


def by_name(place):
    """The source package is called source."""
    query = "%|SOURCERPM?{%{NAME}}:{source}|"
    return {output("rpm", "-qp", "--qf", query, path): path for path in glob.glob(os.path.join(place, "*.rpm"))}


# ---- what is in them ----

def listed(path):
    lines = output("rpm", "-qp", "--qf", "[%{FILEMODES:perms} %{FILEUSERNAME} %{FILEGROUPNAME} %{FILEFLAGS:fflags}- "
                   "%{FILENAMES}\n]", path).splitlines()
    fields = [line.split(" ") for line in lines if "/.build-id" not in line]
    return sorted(" ".join([*rest[:3], rest[3].rstrip("-") or "-", rest[4]]) for rest in fields)


def check_lists(found):
    equal(listed(found["relaypool"]), sorted(FILES.split("\n")[1:-1]), "files of relaypool")
    sources = output("rpm", "-qpl", found["source"]).split()
    equal([re.sub("-[0-9].*[0-9]", "", name) for name in sorted(sources)], ["relaypool.tar.gz", "relaypool.spec"],
          "files of the source package")


def check_scripts(path):
    for name, words in SCRIPTS.items():
        script = output("rpm", "-qp", "--qf", f"%{{{name}}}", path)
        subprocess.run(["sh", "-n"], input=script, text=True, check=True)
        for word in words:
            assert word in script, f"{name} does not say `{word}':\n{script}"
        code = re.sub("^ *#.*$", "", script, flags=re.MULTILINE)
        assert not re.search(r"\benable|systemctl (\S+ )*(re)?start|postconf", code), f"{name} changes more:\n{code}"
    triggers = output("rpm", "-qp", "--triggers", path)
    assert re.search(r"^triggerin scriptlet .* -- postfix\n(#.*\n)?systemd-tmpfiles --create", triggers), triggers


def check_user(path):
    """The user is the same, whoever makes it: the script, systemd-sysusers, or rpm by the same file."""
    with open(os.path.join(settings.SOURCE, "packaging/sysusers.d/relaypool.conf"), encoding="utf-8") as file:
        name, comment, home = re.search(r'^u (\S+) - "(.*)" (\S+)$', file.read(), re.MULTILINE).groups()
    script = output("rpm", "-qp", "--qf", "%{PREIN}", path)
    assert f"useradd -r -g {name} -d {home} -s /sbin/nologin -c {comment} {name} " in script, script


def check_needs(path):
    needed = output("rpm", "-qpR", path)
    for library in ("libmilter.so", "libevent-2.1.so", "libevent_openssl-2.1.so", "libssl.so.3", "libgsasl.so",
                    "libconfuse.so", "libjansson.so", "ca-certificates", "shadow-utils"):
        assert library in needed, f"{library} is not needed:\n{needed}"
    equal(output("rpm", "-qp", "--recommends", path).split("\n")[0], "(postfix or sendmail)", "what is recommended")
    equal(output("rpm", "-qpc", path).split(), ["/etc/relaypool/relaypool.conf"], "configuration files")
    equal(output("rpm", "-qp", "--qf", "%{LICENSE} %{BUILDHOST}", path), "ISC localhost", "licence, and who built it")


def check_distributions(spec):
    for name, defined in DISTRIBUTIONS.items():
        text = output("rpmspec", "-P", "--define", defined, "--define", f"dist .{name}", spec)
        equal("useradd" in text, name != "fc42", f"whether a script makes the user on {name}")
        assert re.search(rf"^Release: +1\.{name}$", text, re.MULTILINE) and "%package selinux" in text, text
        for macro in ("selinux_modules_install", "selinux_modules_uninstall", "selinux_relabel_post"):
            assert macro in text, f"{macro} is not used on {name}"


def check_lint(found, spec):
    if not shutil.which("rpmlint"):
        settings.figure("rpmlint is not installed: not run")
        return
    rules = os.path.join(settings.SOURCE, "packaging/rpm/relaypool.rpmlintrc")
    said = output("rpmlint", "-r", rules, found["source"], found["relaypool"], spec)
    assert " 0 errors, 0 warnings" in said, said


def unpack(path, place):
    """The files of a package, below a directory."""
    os.makedirs(place)
    output("sh", "-c", 'rpm2cpio "$1" | cpio -idm --quiet', "-", path, cwd=place)


def check_runs(path, work):
    """With the libraries of the host."""
    root = os.path.join(work, "root")
    unpack(path, root)
    version = output("rpm", "-qp", "--qf", "%{VERSION}", path)
    equal(output(f"{root}/usr/sbin/relaypoold", "-V"), f"relaypoold {version}\n", "version")
    assert "test-route" in output(f"{root}/usr/sbin/relaypoolctl", "help"), "relaypoolctl does not run"
    link = os.path.join(root, "usr/share/sendmail-cf/feature/relaypool.m4")
    assert os.path.samefile(link, f"{root}/usr/share/relaypool/sendmail/feature/relaypool.m4"), os.readlink(link)


def check_selinux(path, work):
    """The module as it was compiled: who may connect, and that the labels are those of what relaypool has."""
    equal(listed(path), sorted(SELINUX_FILES.split("\n")[1:-1]), "files of relaypool-selinux")
    root = os.path.join(work, "selinux")
    unpack(path, root)
    with bz2.open(f"{root}/usr/share/selinux/packages/targeted/relaypool.pp.bz2") as file:
        policy = subprocess.run([TO_CIL], input=file.read(), stdout=subprocess.PIPE, check=True).stdout.decode()
    for domain in CONNECT:
        for what in ("_t (unix_stream_socket (connectto", "_data_t (sock_file (write"):
            assert f"(allow {domain} relaypool_milter{what}" in policy, f"{domain} may not connect: {what}"
    assert "(typepermissive relaypool_milter_t)" in policy, "relaypoold's domain is not permissive"
    labels = dict(re.findall(r'filecon "([^"]*)" \w+ \(system_u object_r relaypool_milter_(\w+)_t', policy))
    for name, label in (("/usr/sbin/relaypoold", "exec"), ("/etc/relaypool/credentials.d/x", "secret"),
                        ("/var/lib/relaypool/tag.key", "var_lib"), ("/run/relaypool/control.sock", "data"),
                        ("/var/spool/postfix/relaypool/lmtp.sock", "data")):
        equal([label for pattern, label in labels.items() if re.fullmatch(pattern, name)], [label], f"the label of {name}")


def test_packages():
    found, work = packages(), tempfile.mkdtemp(prefix="relaypool-rpm-")
    spec = os.path.join(settings.BUILD, "packaging/rpm/relaypool.spec")
    try:
        check_lists(found)
        check_scripts(found["relaypool"])
        check_user(found["relaypool"])
        check_needs(found["relaypool"])
        check_distributions(spec)
        check_lint(found, spec)
        check_runs(found["relaypool"], work)
        if "relaypool-selinux" in found:
            check_selinux(found["relaypool-selinux"], work)
        else:
            settings.figure("skipped: the SELinux module; selinux-policy-dev is not installed")
    finally:
        shutil.rmtree(work)


# ---- installed, in a system made by debootstrap ----

POSTFIX = """Name: postfix
Version: 3.5
Release: 1
Summary: For what a package does when Postfix comes
License: none
BuildArch: noarch
%description
%files
"""
SPY = "#!/bin/sh\necho \"$*\" >>/tmp/systemctl\n"
# Postfix's own; rpm's database; and the user and the group, which stay, as is the custom.
STAYS = r"/var/(spool|lib)/postfix/(?!relaypool).+|/var/lib/rpm(/.*)?|/etc/(passwd|group|shadow|gshadow|subuid|subgid)"


class Rpm:
    """rpm of the host, in the system; its scripts run there."""

    def __init__(self, system):
        self.system = system
        system.write("usr/bin/systemctl", SPY, 0o755)
        os.makedirs(system.path("usr/share/licenses"), exist_ok=True)  # as Fedora has it

    def __call__(self, *words):
        """What it and the scripts said, and what they asked systemctl for."""
        told = self.system.path("tmp/systemctl")
        if os.path.exists(told):
            os.remove(told)
        said = output("rpm", "--root", self.system.root, "--dbpath", "/var/lib/rpm", "--nodeps", *words)
        said = re.sub("^rpm: .*\n", "", said, flags=re.MULTILINE)  # on Debian: that dpkg is meant to install packages
        return said, self.system.read("tmp/systemctl").splitlines() if os.path.exists(told) else []

    def look(self, name):
        return self.system.run("stat", "-c", "%a %U:%G", name).strip()


def build_postfix(work):
    """A package that is called postfix and has nothing in it."""
    os.mkdir(work)
    spec = os.path.join(work, "postfix.spec")
    with open(spec, "w", encoding="utf-8") as file:
        file.write(POSTFIX)
    output("rpmbuild", "-bb", "--define", f"_topdir {work}/top", "--define", f"_dbpath {work}/db", spec)
    return glob.glob(f"{work}/top/RPMS/noarch/*.rpm")[0]


def installed(rpm, path, work):
    """Nothing is enabled and nothing started; Postfix's group gets the directory when Postfix comes."""
    said, calls = rpm("-i", path)
    equal((said, calls), ("", []), "what is said and done at the installation")
    equal(rpm.system.run("getent", "passwd", "relaypool").strip().split(":")[4:],
          ["relaypool", "/nonexistent", "/sbin/nologin"], "the user")
    equal(rpm.look("/etc/relaypool/credentials.d"), "750 root:relaypool", "where the passwords are")
    rpm("-i", build_postfix(work))
    equal(rpm.look("/var/spool/postfix/relaypool"), "2750 relaypool:postfix", "the sockets' directory")


def upgraded(rpm, path):
    """What was written stays, and relaypoold is restarted where it runs; the sockets are not."""
    system = rpm.system
    system.write("etc/relaypool/relaypool.conf", "# mine\n")
    system.write("etc/relaypool/credentials.d/mine", "secret\n", 0o640)
    equal(rpm("-U", "--replacepkgs", path), ("", ["try-restart relaypoold.service"]), "what an upgrade says and does")
    equal(system.read("etc/relaypool/relaypool.conf"), "# mine\n", "the configuration after an upgrade")


def erased_too_early(rpm):
    """Postfix still uses it: that is said, and what it had is kept."""
    state = "var/lib/relaypool-setup/postfix%etc%postfix"
    rpm.system.run("mkdir", "-p", f"/{state}", "/var/lib/relaypool/x", "/run/relaypool")
    rpm.system.write(f"{state}/state.json", "{}\n")
    rpm.system.run("postconf", "-e", "default_transport = relaypool:unix:relaypool/lmtp.sock")
    said, calls = rpm("-e", "relaypool")
    for text in ("WARNING: Postfix still hands its mail to relaypool (/etc/postfix/main.cf).",
                 "    relaypoolctl setup postfix --undo --reload", f"stays in /{state}."):
        assert text in said, f"{text} was not said: {said}"
    equal(calls, [f"--no-reload disable --now {UNITS}"], "what a removal asks of systemd")
    equal(rpm.system.read(f"{state}/state.json"), "{}\n", "what setup remembers")
    equal(rpm.system.read("etc/relaypool/relaypool.conf.rpmsave"), "# mine\n", "the configuration after a removal")


def test_installed_upgraded_and_erased():
    import chroot
    system, path = chroot.system(), packages()["relaypool"]
    rpm = Rpm(system)
    before = system.listing(STAYS)
    installed(rpm, path, settings.work("dummy"))
    upgraded(rpm, path)
    erased_too_early(rpm)
    after = chroot.differences(before, system.listing(STAYS))
    left = ["/etc/postfix/main.cf", "/etc/relaypool", "/etc/relaypool/credentials.d", "/etc/relaypool/credentials.d/mine",
            "/etc/relaypool/relaypool.conf.rpmsave", "/var/lib/relaypool-setup",
            "/var/lib/relaypool-setup/postfix%etc%postfix", "/var/lib/relaypool-setup/postfix%etc%postfix/state.json"]
    equal(sorted({line.split()[1].rstrip(":") for line in after}), left, "what is left of a removal that came too early")

    system.run("rm", "-r", "/etc/relaypool", "/var/lib/relaypool-setup")
    system.run("postconf", "-X", "default_transport")
    rpm("-i", path)
    system.run("mkdir", "-p", "/var/lib/relaypool-setup", "/var/spool/postfix/relaypool")
    said, _ = rpm("-e", "relaypool")
    equal(said, "", "what is said when nothing uses it")
    equal(chroot.differences(before, system.listing(STAYS)), [], "files when it is erased")


# ---- twice ----

def digests(found):
    """Of the packages as they are, and of the files that are in them."""
    result = {}
    for name, path in found.items():
        with open(path, "rb") as file:
            result[name] = hashlib.sha256(file.read()).hexdigest(), output("rpm", "-qp", "--qf", "%{PAYLOADDIGEST}", path)
    return result


def build_from(source, time, mask, zone):
    """In the directory `build` beside the sources, whose files have this time."""
    place = os.path.join(os.path.dirname(source), "build")
    os.umask(mask)
    copy_source(source)
    output("find", source, "-exec", "touch", "-h", "-d", f"@{time}", "{}", "+")
    os.environ["TZ"] = zone
    build(source, place, [])
    output("make", "rpm", options(), cwd=place)
    found = digests(by_name(os.path.join(place, "rpm")))
    shutil.rmtree(source)
    shutil.rmtree(place)
    return found


def show(first, second, name):
    print("same     " if first == second else "different", first[:16], name)


def compare():
    """To the octet in the same directory. Elsewhere, what is in them: rpm notes in the source package where it was built,
    and in the others which source package they are from."""
    work = tempfile.mkdtemp(prefix="relaypool-rpm-")
    try:
        here = digests(packages())
        first = build_from(os.path.join(work, "source"), 1_700_000_000, 0o022, "UTC0")
        second = build_from(os.path.join(work, "source"), 1_000_000_000, 0o077, "Asia/Kathmandu")
    finally:
        shutil.rmtree(work)
    for name in sorted(first):
        show(first[name][0], second[name][0], name)
        show(here[name][1], second[name][1], f"files of {name}, elsewhere")
    return first == second and all(here[name][1] == second[name][1] for name in first)


def main():
    test_packages()
    print("The packages are as they should be.")
    sys.exit("--twice" in sys.argv[1:] and not compare())


if __name__ == "__main__":
    main()
