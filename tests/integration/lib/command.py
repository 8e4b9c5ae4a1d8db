"""A command whose output goes to a file: daemons that it leaves behind may keep that open, nobody waits for them."""
import subprocess
import tempfile


def run(command, code=0, typed="", limit=120, env=None):
    """What it printed; it has to end with `code`, None for any, within `limit` seconds."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as given:
        given.write(typed.encode())
        given.seek(0)
        with subprocess.Popen(command, stdin=given, stdout=output, stderr=subprocess.STDOUT, env=env) as process:
            try:
                process.wait(limit)
            except subprocess.TimeoutExpired:
                process.kill()
        output.seek(0)
        text = output.read().decode("utf-8", "replace")
    if code is not None and process.returncode != code:
        raise AssertionError(f"{' '.join(command)} ended with {process.returncode}:\n{text}")
    return text
