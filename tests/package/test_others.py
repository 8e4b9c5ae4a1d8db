"""What others have made under the name relaypool stays when the package is purged."""
import chroot
import lifecycle
from lib.scene import equal

PACKAGES = ()
LATER = (lifecycle.DEB,)


def test_a_user_with_a_home_and_a_group_with_members():
    system = chroot.system()
    system.run("groupadd", "relaypool")
    system.run("useradd", "-m", "-G", "relaypool", "alice")
    group = system.run("getent", "group", "relaypool")
    for home in (False, True):
        if home:
            system.run("useradd", "-m", "-g", "relaypool", "relaypool")
        user = system.run("getent", "passwd", "relaypool", code=None)
        system.install(lifecycle.DEB, recommends=False)
        said = system.apt("purge", "relaypool")
        assert "the group relaypool is kept" in said, said
        equal(system.run("getent", "group", "relaypool"), group, "the group")
        equal(system.run("getent", "passwd", "relaypool", code=None), user, "the user")
