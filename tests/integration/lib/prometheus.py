"""A Prometheus of our own beside the daemon: data in the work directory, a port on loopback, a scrape every second."""
import json
import os
import subprocess
import urllib.error
import urllib.parse
import urllib.request

from . import settings

PORT = 9790
CONFIG = """
global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}
scrape_configs:
  - {{job_name: relaypool, static_configs: [{{targets: ["{target}"]}}]}}
rule_files: ["{rules}"]
"""


def promtool(*words, text=None):
    """promtool must find nothing to complain of."""
    result = subprocess.run(["promtool", *words], input=text, capture_output=True, text=True, timeout=20, check=False)
    if result.returncode or result.stderr:
        raise AssertionError(f"promtool {' '.join(words)}: {result.stdout}{result.stderr}")


class Prometheus:
    def __init__(self, target, rules):
        self.directory = settings.work("prometheus")
        os.mkdir(self.directory)
        self.config = os.path.join(self.directory, "prometheus.yml")
        self.log_path = os.path.join(self.directory, "log")
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(CONFIG.format(target=target, rules=rules))
        promtool("check", "config", self.config)
        self.process = None

    def start(self):
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                ["prometheus", f"--config.file={self.config}", f"--storage.tsdb.path={self.directory}/data",
                 f"--web.listen-address=127.0.0.1:{PORT}", "--log.level=warn"],
                stdout=log, stderr=subprocess.STDOUT)
        settings.wait_until(self.is_ready, 20, "Prometheus to start")
        return self

    def is_ready(self):
        if self.process.poll() is not None:
            with open(self.log_path, encoding="utf-8") as file:
                raise AssertionError(f"Prometheus did not start:\n{file.read()[-2000:]}")
        try:
            return self._get("/-/ready", {}) is not None
        except OSError:
            return False

    def _get(self, path, values):
        url = f"http://127.0.0.1:{PORT}{path}?{urllib.parse.urlencode(values)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.read()

    def api(self, path, **values):
        answer = json.loads(self._get(f"/api/v1/{path}", values))
        if answer["status"] != "success" or answer.get("warnings"):
            raise AssertionError(f"Prometheus: {values}: {answer}")
        return answer["data"]

    def query(self, expression):
        """[(labels, value)] at this moment; an expression that is not valid is an error."""
        try:
            data = self.api("query", query=expression)
        except urllib.error.HTTPError as error:
            raise AssertionError(f"Prometheus: {expression}: {error.read().decode()}") from error
        return [(series["metric"], float(series["value"][1])) for series in data["result"]]

    def rules(self):
        return [rule for group in self.api("rules")["groups"] for rule in group["rules"]]

    def stop(self):
        self.process.terminate()
        self.process.wait(20)
