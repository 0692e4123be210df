"""The machine's network as the cluster needs it, and taking all of it back.

What is ours can be told from what is not: the bridge by its name, our rule by its comment, kube-proxy's and the
kubelet's chains by their prefix, changed kernel settings by the note of their former values.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from localcluster.console import LocalClusterError
from localcluster.processes import boot_id
from localcluster.settings import BRIDGE, BRIDGE_IP, BRIDGE_MAC, POD_CIDR, POD_PREFIX_LENGTH

if TYPE_CHECKING:
    from localcluster.settings import Places

COMMENT = "runabout-local-cluster"
SYSCTL = Path("/proc/sys")
BRIDGED = "net/bridge/bridge-nf-call-iptables"
# What we, the kubelet and kube-proxy set.
TOUCHED = (
    "net/ipv4/ip_forward",
    BRIDGED,
    "net/ipv4/conf/all/route_localnet",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)


def run(*argv: str, text: str | None = None) -> str:
    """Run a command that must succeed; return its output."""
    try:
        result = subprocess.run(argv, input=text, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise LocalClusterError(
            f"the command `{argv[0]}` is missing", "apt-get install iproute2 iptables conntrack"
        ) from error
    if result.returncode != 0:
        raise LocalClusterError(f"`{' '.join(argv)}` failed: {result.stderr.strip()[-400:]}")
    return result.stdout


def _succeeds(*argv: str) -> bool:
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0


def bridge_is_up() -> bool:
    """Whether the bridge is there with its address."""
    result = subprocess.run(
        ["ip", "-4", "-o", "addr", "show", "dev", BRIDGE], capture_output=True, text=True, check=False
    )
    return f" {BRIDGE_IP}/{POD_PREFIX_LENGTH} " in result.stdout


def bridge_keeps_its_address() -> bool:
    """Whether the bridge that is there has the hardware address that it keeps; that of an older cluster has none."""
    return Path(f"/sys/class/net/{BRIDGE}/address").read_text().strip() == BRIDGE_MAC


def bridge_exists() -> bool:
    """Whether the bridge is there, with an address or without."""
    return _succeeds("ip", "link", "show", BRIDGE)


def masquerade_rule() -> list[str]:
    """The one rule of ours: packets of pods that leave the machine carry its address."""
    match = ["-s", POD_CIDR, "!", "-d", POD_CIDR, "-m", "comment", "--comment", COMMENT]
    return ["POSTROUTING", *match, "-j", "MASQUERADE"]


def forward_rules() -> list[list[str]]:
    """Let the pods' packets through on a machine whose FORWARD policy is DROP, as Docker leaves it."""
    comment = ["-m", "comment", "--comment", COMMENT]
    return [["FORWARD", flag, POD_CIDR, *comment, "-j", "ACCEPT"] for flag in ("-s", "-d")]


def set_up(places: Places) -> None:
    """Bridge, forwarding and our rules; harmless where they are there already."""
    if not bridge_is_up():
        refuse_a_taken_range()
        if not bridge_exists():
            run("ip", "link", "add", BRIDGE, "type", "bridge")
        run("ip", "addr", "replace", f"{BRIDGE_IP}/{POD_PREFIX_LENGTH}", "dev", BRIDGE)
    run("ip", "link", "set", BRIDGE, "address", BRIDGE_MAC, "up")
    _note_settings(places)
    (SYSCTL / "net/ipv4/ip_forward").write_text("1")
    if (SYSCTL / BRIDGED).exists():
        (SYSCTL / BRIDGED).write_text("1")
    if not _succeeds("iptables", "-w", "-t", "nat", "-C", *masquerade_rule()):
        run("iptables", "-w", "-t", "nat", "-A", *masquerade_rule())
    for rule in forward_rules():
        if not _succeeds("iptables", "-w", "-C", *rule):
            run("iptables", "-w", "-I", *rule)


def bridged_packets_pass_iptables() -> bool:
    """Whether the answer of a pod to a pod through a Service finds its way back without masquerading."""
    return (SYSCTL / BRIDGED).exists()


def refuse_a_taken_range() -> None:
    """Say who has the pods' addresses, if anything but our bridge has."""
    found = subprocess.run(["ip", "-4", "-o", "addr"], capture_output=True, text=True, check=False).stdout
    for line in found.splitlines():
        if " 10.244.0." in line and f" {BRIDGE} " not in line:
            raise LocalClusterError(
                f"the address range {POD_CIDR} is in use: {' '.join(line.split()[:4])}",
                "Another cluster or a VPN has it; stop that one first.",
            )


def _note_settings(places: Places) -> None:
    note = places.run / "settings.json"
    if note.exists() and json.loads(note.read_text()).get("boot") == boot_id():
        return
    values = {name: (SYSCTL / name).read_text().strip() for name in TOUCHED if (SYSCTL / name).exists()}
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(json.dumps({"boot": boot_id(), "values": values}, indent=2) + "\n")


def _restore_settings(places: Places) -> None:
    note = places.run / "settings.json"
    if not note.exists():
        return
    data = json.loads(note.read_text())
    if data.get("boot") == boot_id():
        for name, value in data["values"].items():
            path = SYSCTL / name
            if path.exists() and path.read_text().strip() != value:
                path.write_text(value)
    note.unlink()


def without_our_rules(saved: str) -> str | None:
    """The input for `iptables-restore --noflush` that removes what is ours from an `iptables-save`; None if nothing is.

    Ours are rules with our comment and chains whose name begins with KUBE-, with every rule in them or to them.
    """
    lines: list[str] = []
    anything = False
    for table, body in re.findall(r"^\*(\w+)\n(.*?)^COMMIT", saved, re.MULTILINE | re.DOTALL):
        chains = re.findall(r"^:(KUBE-\S+)", body, re.MULTILINE)
        rules = [
            "-D" + rule[2:]
            for rule in body.splitlines()
            if rule.startswith("-A ") and not rule.startswith("-A KUBE-") and (COMMENT in rule or " -j KUBE-" in rule)
        ]
        if chains or rules:
            anything = True
            # A chain has to be empty and unused before it can go.
            flush = [f":{chain} - [0:0]" for chain in chains]
            lines += [f"*{table}", *flush, *rules, *(f"-X {chain}" for chain in chains), "COMMIT"]
    return "\n".join(lines) + "\n" if anything else None


def remove_rules() -> None:
    """Remove our rules and those of kube-proxy and the kubelet, of both protocols."""
    for family in ("iptables", "ip6tables"):
        if shutil.which(f"{family}-save") is None:
            continue
        saved = subprocess.run([f"{family}-save"], capture_output=True, text=True, check=False).stdout
        script = without_our_rules(saved)
        if script is not None:
            run(f"{family}-restore", "-w", "--noflush", text=script)


def rules_left() -> int:
    """How many chains and rules of ours there are."""
    count = 0
    for family in ("iptables", "ip6tables"):
        if shutil.which(f"{family}-save"):
            saved = subprocess.run([f"{family}-save"], capture_output=True, text=True, check=False).stdout
            count += sum(1 for line in saved.splitlines() if line.startswith((":KUBE-", "-A KUBE-")) or COMMENT in line)
    return count


def tear_down(places: Places) -> None:
    """Take everything back."""
    remove_rules()
    if bridge_exists():
        run("ip", "link", "delete", BRIDGE)
    _restore_settings(places)
