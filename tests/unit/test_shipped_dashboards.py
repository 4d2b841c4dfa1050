"""Dashboards are shipped with the site's values in them; a mistake names its file."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.observatory.core.plugins.plugin_utils import dashboards, site_values

ROOT = Path(__file__).parents[2]
THRESHOLDS = {"node": {"NodeCPUHighUsage": {"ratio": 0.9, "for": "15m"}, "Units": {"count": 2}}}


@pytest.fixture
def folders(tmp_path):
    """The project's folder and a site's; `put` writes a dashboard into one of them."""

    class Folders:
        def __init__(self):
            self.paths = [str(tmp_path / "project"), str(tmp_path / "site")]

        def put(self, place, where=0, text=None, **fields):
            file = Path(self.paths[where], place)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text if text is not None else json.dumps({"uid": file.stem, "title": file.stem, "panels": [], **fields}))

        def files(self):
            values = site_values.Values({"thresholds": THRESHOLDS, "runbook_base_url": "https://example.org/runbooks"})
            return dashboards.files(self.paths, values, base=str(tmp_path))

        def refused(self):
            with pytest.raises(site_values.ContentError) as caught:
                self.files()
            return str(caught.value)

    return Folders()


def test_a_folder_of_the_project_is_a_folder_in_grafana(folders):
    """Sorted, and without the number that Grafana gives."""
    folders.put("Hosts/b.json", id=7)
    folders.put("Alerts/a.json")
    assert [(file["path"], json.loads(file["content"])) for file in folders.files()] == [
        ("/etc/grafana/dashboards/Alerts/a.json", {"uid": "a", "title": "a", "panels": []}),
        ("/etc/grafana/dashboards/Hosts/b.json", {"uid": "b", "title": "b", "panels": []}),
    ]


def test_values_of_the_site_take_their_places(folders):
    """A number where the expression stands alone, text where it does not; Grafana's own old form stays."""
    folders.put("Hosts/a.json", panels=[{
        "value": "[[ thresholds.node.NodeCPUHighUsage.ratio ]]", "free": "[[ 1 - thresholds.node.NodeCPUHighUsage.ratio ]]",
        "count": "[[ thresholds.node.Units.count ]]", "url": "[[ runbook_base_url ]]/node/NodeCPUHighUsage",
        "range": "x[[[ thresholds.node.NodeCPUHighUsage.for ]]]", "old": "[[host]] {{host}}", "none": None, "flag": True,
    }])
    assert json.loads(folders.files()[0]["content"])["panels"] == [{
        "value": 0.9, "free": 0.1, "count": 2, "url": "https://example.org/runbooks/node/NodeCPUHighUsage", "range": "x[15m]",
        "old": "[[host]] {{host}}", "none": None, "flag": True,
    }]


def test_a_site_adds_dashboards_and_replaces_shipped_ones_by_their_uid(folders):
    """Also in another folder."""
    folders.put("Hosts/shipped.json")
    folders.put("Shop/own.json", where=1)
    folders.put("Shop/mine.json", where=1, uid="shipped", title="mine")
    assert [file["path"] for file in folders.files()] == ["/etc/grafana/dashboards/Shop/mine.json", "/etc/grafana/dashboards/Shop/own.json"]


def test_without_dashboards_nothing_is_shipped(folders):
    """Neither folder has to exist."""
    assert folders.files() == []


UID = "project/A/x.json: the dashboard needs a uid of at most 40 letters, digits, _ and -: links lead to it"
MISTAKES = {
    "no JSON": ({"place": "A/x.json", "text": '{\n "uid": ,\n}'}, "project/A/x.json:2: this is not JSON: Expecting value"),
    "no dashboard": (
        {"place": "A/x.json", "text": '{"dashboard": {}}'},
        'project/A/x.json: this is no dashboard: it has no list "panels". Export it with "Export for sharing externally" off',
    ),
    "no uid": ({"place": "A/x.json", "uid": None}, UID),
    "long uid": ({"place": "A/x.json", "uid": "x" * 41}, UID),
    "no title": ({"place": "A/x.json", "title": ""}, "project/A/x.json: the dashboard has no title"),
    "no folder": (
        {"place": "x.json"}, "project/x.json: a dashboard lies in a folder of its own name in Grafana: move it to <folder>/<name>.json",
    ),
    "unknown value": (
        {"place": "A/x.json", "panels": ["[[ thresholds.node.NodeCPUHighUsage.ration ]]"]},
        'project/A/x.json: "ration" of [[ thresholds.node.NodeCPUHighUsage.ration ]] is not known in thresholds.node.NodeCPUHighUsage. Did you mean "ratio"?',
    ),
}


@pytest.mark.parametrize(("fields", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_names_its_file(folders, fields, message):
    """Before any host is touched."""
    folders.put(**fields)
    assert folders.refused() == message


def test_two_dashboards_of_one_folder_cannot_share_a_uid(folders):
    """Grafana would show one of them, now this and now that."""
    folders.put("A/x.json", uid="same")
    folders.put("B/y.json", uid="same")
    assert folders.refused() == 'project/B/y.json: uid "same" is already that of project/A/x.json'


def test_two_dashboards_cannot_have_one_place(folders):
    """A site's file of a shipped one's name with another uid."""
    folders.put("A/x.json")
    folders.put("A/x.json", where=1, uid="other")
    assert folders.refused() == '/etc/grafana/dashboards/A/x.json: two dashboards, "x" and "other", have this place: rename one file'


def test_text_is_short_and_the_same_data():
    """What fits a line stands on one."""
    data = {"short": {"a": [1, 2]}, "long": [{"text": "x" * 100}, {"text": "y" * 100}], "empty": []}
    text = dashboards.to_json(data)
    assert json.loads(text) == data
    assert text.splitlines()[1] == ' "short": {"a": [1, 2]},'
    assert max(map(len, text.splitlines())) <= dashboards.WIDTH


def test_the_writer_finds_what_is_out_of_step(tmp_path):
    """Also a file that no dashboard has any more."""
    def run(*options):
        return subprocess.run(
            [sys.executable, "-m", "observatory.dashboards", "--root", tmp_path, *options], cwd=ROOT / "src", capture_output=True, text=True, check=False,
        )

    assert run("--check").returncode == 1
    assert run().returncode == 0
    assert run("--check").returncode == 0
    (tmp_path / "dashboards/Hosts/old.json").write_text("{}")
    done = run("--check")
    assert (done.returncode, done.stdout) == (1, "dashboards/Hosts/old.json\n")
    assert "make generate" in done.stderr
    run()
    assert not (tmp_path / "dashboards/Hosts/old.json").exists()
