#!/usr/bin/env python3
"""Holds docker/ against the program and against real servers. No Docker is needed, and none of it is run here.

    tests/docker.py [BINARY]        BINARY defaults to target/debug/chimera

By parsing: images are pinned, every service has a health check, no password has a default, every setting is one that the
program knows and every file named is there, and the build is sent what cargo needs and nothing else.

By running: the installed PostgreSQL, TimescaleDB and Redis are started with the flags, the environment, the script of the
first start and the health checks that stand in compose.yaml, and the program with the settings that stand there makes its
first key, serves, says that it is ready, and ends in order. A server that is not installed leaves that part out, unless
CONTRACT_REQUIRE names it.

Needs PyYAML; without it, it makes itself a virtual environment in target/. Prints one line for each failure, then
`N passed, M failed`.
"""

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

try:
    import yaml
except ImportError:
    venv = ROOT / "target/docker-venv"
    python = venv / "bin/python"
    if Path(sys.prefix) == venv:
        sys.exit("PyYAML could not be installed")
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    pip = [python, "-m", "pip", "--disable-pip-version-check", "--quiet", "install", "--require-hashes", "--only-binary", ":all:"]
    subprocess.run([*pip, "-r", ROOT / "tests/docker.requirements.txt"], check=True)
    os.execv(python, [python, *sys.argv])

BINARY = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "target/debug/chimera").resolve()
POSTGRES = Path("/usr/lib/postgresql/15/bin")
TIMESCALE = Path("/usr/share/postgresql/15/extension/timescaledb.control")
REDIS = Path("/usr/bin/redis-server")
# What each store is when it is the server that compose.yaml starts.
ADAPTERS = {"relational": "postgres", "telemetry": "timescale", "episodic": "redis"}
# A version, with the variant behind it: not `latest`, not a major version alone.
PINNED = re.compile(r"^[a-z0-9./-]+:\d+\.\d+[\w.-]*$")

passed, failures = 0, []


def check(good, what):
    global passed
    if good:
        passed += 1
    else:
        failures.append(what)
        print("FAILED:", what)


# --- parsing ---------------------------------------------------------------------------------------------------------


def instructions(text):
    """The instructions of a Dockerfile: each its word and the rest, continued lines joined, comments left out."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [tuple(line.split(None, 1)) for line in joined.splitlines() if line.strip()]


def assignments(text):
    return dict(part.split("=", 1) for part in shlex.split(text))


def interpolate(value, variables):
    """A value with its variables put in, as compose does it."""

    def replace(match):
        name, default = match["name"], match["default"]
        return variables.get(name) or default or ""

    return re.sub(r"\$\{(?P<name>\w+)(?::\?[^}]*|:-(?P<default>[^}]*))?\}", replace, value).replace("$$", "$")


def known_settings():
    table = subprocess.run([BINARY, "config", "table"], capture_output=True, text=True, check=True).stdout
    return {"CHIMERA_" + key.replace(".", "_").upper() for key in re.findall(r"^\| `([\w.]+)`", table, re.M)}


def ignored(path, patterns):
    """Whether .dockerignore leaves a path out: the last pattern that fits it or a folder above it decides."""
    parts = path.split("/")
    above = ["/".join(parts[:end]) for end in range(1, len(parts) + 1)]
    left_out = False
    for pattern in patterns:
        keep, pattern = pattern.startswith("!"), pattern.removeprefix("!").strip("/")
        expression = re.escape(pattern).replace(r"\*\*/", "(.*/)?").replace(r"\*", "[^/]*")
        if any(re.fullmatch(expression, each) for each in above):
            left_out = not keep
    return left_out


def context():
    """The files that are sent to the build, of those that are under version control or will be."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    patterns = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if (ROOT / ".git").exists():
        listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
        files = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    else:
        files = [str(path.relative_to(ROOT)) for path in ROOT.rglob("*") if path.is_file()]
    for secret in ["docker/.env", ".git/config", "data/secret", "chimera.toml", "frontend/node_modules/vite/x", "target/x"]:
        check(ignored(secret, patterns), f".dockerignore: {secret} would be sent to the build")
    return {file for file in files if not ignored(file, patterns) and (ROOT / file).is_file()}


def dockerfile(path, files):
    """Checks the Dockerfile, and answers the environment and the health check of its last stage."""
    steps = instructions(path.read_text())
    froms = [rest.split()[0] for word, rest in steps if word == "FROM"]
    for image in froms:
        check(PINNED.match(image), f"Dockerfile: {image} is not pinned to a version")
    manifest = (ROOT / "Cargo.toml").read_text()
    rust = re.search(r'^rust-version = "([\d.]+)"', manifest, re.M)[1]
    check(any(image.startswith(f"rust:{rust}.") for image in froms), f"Dockerfile: no stage has Rust {rust}")
    least = json.loads((ROOT / "frontend/package.json").read_text())["engines"]["node"]
    numbers = lambda text: [int(number) for number in re.findall(r"\d+", text)[:2]]
    node = next(image for image in froms if image.startswith("node:"))
    check(numbers(node) >= numbers(least), f"Dockerfile: {node} is older than {least}")

    for word, rest in steps:
        if word == "COPY" and "--from=" not in rest:
            for source in rest.split()[:-1]:
                found = source == "." or any(file == source or file.startswith(source + "/") for file in files)
                check(found, f"Dockerfile: {source} is not sent to the build")
    builds = [rest for word, rest in steps if word == "RUN" and "cargo build" in rest]
    check(builds and all("--locked" in rest for rest in builds), "Dockerfile: cargo build without --locked")

    last = steps[max(index for index, (word, _) in enumerate(steps) if word == "FROM") :]
    words = {word: rest for word, rest in last}
    check(re.fullmatch(r"[1-9]\d*:[1-9]\d*", words.get("USER", "")), "Dockerfile: USER is not a number other than root's")
    for word in ["HEALTHCHECK", "EXPOSE", "VOLUME", "ENTRYPOINT", "CMD"]:
        check(word in words, f"Dockerfile: no {word}")
    environment = {}
    for word, rest in last:
        if word == "ENV":
            environment |= assignments(rest)
    port = environment["CHIMERA_SERVER_LISTEN"].rsplit(":", 1)[1]
    check(words["EXPOSE"] == port, f"Dockerfile: EXPOSE {words['EXPOSE']}, but the server listens on {port}")
    check(json.loads(words["VOLUME"]) == [environment["CHIMERA_DATA_DIR"]], "Dockerfile: the data folder is no volume")
    return environment, json.loads(words["HEALTHCHECK"].split("CMD", 1)[1])


def build_context(files):
    """What cargo needs is sent: every manifest, the lock, and every file that is compiled in."""
    for file in sorted(files):
        if not file.endswith(".rs"):
            continue
        text = (ROOT / file).read_text()
        for name in re.findall(r'\binclude_(?:str|bytes)!\("([^"]+)"\)', text):
            wanted = os.path.relpath((ROOT / file).parent / name, ROOT)
            check(wanted in files, f".dockerignore: {file} includes {wanted}, which is not sent to the build")
    unwanted = [file for file in files if file.startswith(("tests/it", "tests/contract", "tests/real", "docker/"))]
    check(not unwanted, f".dockerignore: {unwanted[:3]} are sent to the build for nothing")
    with tempfile.TemporaryDirectory() as folder:
        for file in files:
            target = Path(folder, file)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / file, target)
        # Reads all manifests of the workspace, and fails when the lock would have to change.
        asked = ["cargo", "metadata", "--locked", "--format-version", "1"]
        said = subprocess.run(asked, cwd=folder, capture_output=True, text=True)
        check(said.returncode == 0, f"the build's context is no workspace: {said.stderr.strip()[-400:]}")


def composition(path, environment):
    """Checks compose.yaml and docker/env.example, and answers the services with example values put in."""
    text = path.read_text()
    compose = yaml.safe_load(text)
    example = (path.parent / "env.example").read_text()
    offered = set(re.findall(r"^(\w+)=", example, re.M))
    check(not re.search(r"^\w+=\S", example, re.M), "env.example: a value stands there that somebody would keep")
    used = set(re.findall(r"\$\{(\w+)", text))
    check(used == offered, f"compose.yaml and env.example differ in {sorted(used ^ offered)}")
    for variable in re.findall(r"\$(?!\$|\{\w+:\?[^}]+\})[^\s]*", text):
        check(False, f"compose.yaml: {variable} has no message for who forgot it, or has a default")
    # Longer than what the program wants of a secret, and another one each.
    values = {name: f"{name.lower().replace('_', '')}{'0123456789abcdef' * 2}" for name in offered}
    values["PUBLIC_URL"] = "https://api.example.com"

    settings = known_settings()
    volumes, networks, services = compose["volumes"], compose["networks"], compose["services"]
    for name, service in services.items():
        check(PINNED.match(service["image"]), f"{name}: {service['image']} is not pinned to a version")
        check(service.get("restart"), f"{name}: no restart policy")
        if "build" in service:
            root = (path.parent / service["build"]["context"]).resolve()
            check(root == ROOT, f"{name}: the build's context is not this checkout")
            check((root / service["build"]["dockerfile"]).is_file(), f"{name}: no Dockerfile there")
        else:
            probe = service.get("healthcheck", {})
            check(all(probe.get(key) for key in ["test", "interval", "timeout", "retries"]), f"{name}: no whole health check")
            check(not service.get("ports"), f"{name}: a store is published")
            check(service["networks"] == ["stores"], f"{name}: a store is on another network")
        for published in service.get("ports", []):
            check(str(published).startswith("127.0.0.1:"), f"{name}: {published} is published to everyone")
        for network in service["networks"]:
            check(network in networks, f"{name}: no network {network}")
        for volume in service.get("volumes", []):
            source, target = volume.split(":")[:2]
            check(source in volumes or (path.parent / source).exists(), f"{name}: {source} is not there")
            if "build" in service:
                check(target == environment["CHIMERA_DATA_DIR"], f"{name}: the data folder is not the volume")
        for needed, how in service.get("depends_on", {}).items():
            check(needed in services, f"{name}: no service {needed}")
            check(how.get("condition") == "service_healthy", f"{name}: does not wait until {needed} is healthy")
        for key, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|AUTH", key):
                check(re.fullmatch(r"\$\{\w+:\?[^}]+\}", value), f"{name}: {key} has a default or a fixed value")
            service["environment"][key] = interpolate(value, values)
        service["command"] = [interpolate(word, values) for word in service.get("command", [])]
    server = services["chimera"]
    for key in {**environment, **server["environment"]}:
        check(key in settings, f"chimera: {key} is no setting")
    hosts = {key: re.search(r"@([\w-]+):", value) for key, value in server["environment"].items() if key.endswith("_URL")}
    for key, host in hosts.items():
        check(host is None or host[1] in server["depends_on"], f"chimera: {key} is at a service that it does not wait for")
    check(networks["stores"].get("internal") is True, "the network of the stores has a way out")
    said = run_chimera(["config", "check"], {**environment, **server["environment"]})
    check(said.returncode == 0, f"chimera refuses the settings of compose.yaml: {said.stderr.strip()}")
    return services, values


# --- running ---------------------------------------------------------------------------------------------------------


def run_chimera(arguments, environment, **more):
    clean = {key: value for key, value in os.environ.items() if not key.startswith("CHIMERA_")}
    return subprocess.run([BINARY, *arguments], env=clean | environment, capture_output=True, text=True, cwd="/", **more)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def as_postgres(command):
    """PostgreSQL does not run as root."""
    if os.geteuid() != 0:
        return command
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--pdeathsig=KILL", *command]


@contextlib.contextmanager
def process(command, log, environment=None):
    """A process that is killed at the end."""
    with open(log, "a") as output:
        child = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, env=environment)
    try:
        yield child
    finally:
        if child.poll() is None:
            child.kill()
        child.wait()


def healthy(name, probe, environment, child, log):
    """Waits until the health check says yes."""
    kind, *words = probe
    command = words if kind == "CMD" else ["sh", "-c", words[0]]
    for _ in range(150):
        if subprocess.run(command, env=os.environ | environment, capture_output=True).returncode == 0:
            return check(True, "")
        if child.poll() is not None:
            break
        time.sleep(0.2)
    check(False, f"{name}: never healthy by {command}: {Path(log).read_text()[-1500:]}")


def flags(command):
    """The settings of a PostgreSQL command line."""
    pairs = zip(command[1::2], command[2::2])
    return dict(value.split("=", 1) for flag, value in pairs if flag == "-c")


@contextlib.contextmanager
def postgres(name, service, folder):
    """A database server as the image starts it: made by initdb, filled by the script of the first start."""
    own, port = Path(folder, name), free_port()
    own.mkdir()
    environment = service["environment"]
    (own / "password").write_text(environment["POSTGRES_PASSWORD"])
    (own / "first.sh").write_bytes((ROOT / "docker/postgres/chimera.sh").read_bytes())
    (own / "first.sh").chmod(0o755)
    if os.geteuid() == 0:
        subprocess.run(["chown", "-R", "postgres", own], check=True)
    initdb = [POSTGRES / "initdb", "-D", own / "data", "-U", environment["POSTGRES_USER"], "--auth-local=trust", "--no-sync"]
    initdb += ["--auth-host=scram-sha-256", f"--pwfile={own}/password", *environment["POSTGRES_INITDB_ARGS"].split()]
    subprocess.run(as_postgres(initdb), check=True, capture_output=True, cwd="/")
    command = [POSTGRES / "postgres", *service["command"][1:], "-D", own / "data", "-p", str(port)]
    command += ["-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={own}"]
    with process(as_postgres(command), own / "log") as child:
        healthy(name, service["healthcheck"]["test"], {"PGPORT": str(port)}, child, own / "log")
        socket_of = {**os.environ, **environment, "PGHOST": str(own), "PGPORT": str(port)}
        first = subprocess.run(as_postgres([own / "first.sh"]), env=socket_of, capture_output=True, text=True, cwd="/")
        check(first.returncode == 0, f"{name}: chimera.sh fails: {first.stderr.strip()}")

        def ask(sql):
            psql = [POSTGRES / "psql", "-XAtq", "-U", environment["POSTGRES_USER"], "-d", "chimera", "-c", sql]
            return subprocess.run(psql, env=socket_of, capture_output=True, text=True).stdout.strip()

        check(ask("SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = 'chimera'") == "f", f"{name}: the role is a superuser")
        check(ask("SELECT datcollate FROM pg_database WHERE datname = 'chimera'") == "C", f"{name}: another collation")
        extensions = ask("SELECT string_agg(extname, ' ') FROM pg_extension").split()
        wanted = environment.get("CHIMERA_EXTENSIONS", "").split()
        check(set(wanted) <= set(extensions), f"{name}: {wanted} are not all in {extensions}")
        for setting, value in flags(service["command"]).items():
            taken = ask(f"SELECT source FROM pg_settings WHERE name = '{setting}'")
            check(taken == "command line", f"{name}: the server does not know {setting}={value}")
        yield port


@contextlib.contextmanager
def redis(name, service, folder):
    own, port = Path(folder, name), free_port()
    own.mkdir()
    command = [REDIS, *service["command"][1:], "--port", str(port), "--bind", "127.0.0.1", "--dir", own]
    with process(command, own / "log") as child:
        test = [word.replace("redis-cli", f"redis-cli -p {port}") for word in service["healthcheck"]["test"]]
        healthy(name, test, service["environment"], child, own / "log")
        refused = subprocess.run(["redis-cli", "-p", str(port), "ping"], capture_output=True, text=True).stdout
        check("NOAUTH" in refused, f"{name}: lets everyone in: {refused}")
        for flag, value in zip(service["command"][1::2], service["command"][2::2]):
            asked = ["redis-cli", "-p", str(port), "config", "get", flag.removeprefix("--")]
            taken = subprocess.run(asked, capture_output=True, text=True, env=os.environ | service["environment"]).stdout
            same = taken.split("\n")[1:2] == [value.replace("1gb", str(1 << 30))]
            check(same, f"{name}: {flag} {value} is not in force: {taken}")
        yield port


def serve(environment, probe, folder):
    """The program in its container's settings: first refused, then with a key, ready, answering, ending in order."""
    refused = run_chimera(["serve"], environment)
    check("no API key" in refused.stderr, f"chimera: serves without a key: {refused.stderr}")
    key = run_chimera(["key", "first", "--organization", "acme"], environment)
    check(key.returncode == 0 and key.stdout.startswith("chim_"), f"chimera: no first key: {key.stderr}")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CHIMERA_")}
    log = Path(folder, "chimera.log")
    with process([BINARY, "serve"], log, clean | environment) as child:
        healthy("chimera", ["CMD", BINARY, *probe[1:]], environment, child, log)
        headers = {"content-type": "application/json", "authorization": f"Bearer {key.stdout.strip()}"}
        body = json.dumps({"query": "{ viewer { role organization { name } } }"}).encode()
        request = urllib.request.Request(f"http://{environment['CHIMERA_SERVER_LISTEN']}/graphql", body, headers)
        with urllib.request.urlopen(request, timeout=30) as response:
            answer = json.load(response)
        viewer = {"role": "ADMIN", "organization": {"name": "acme"}}
        check(answer == {"data": {"viewer": viewer}}, f"chimera answers {answer}")
        printed = dict(re.findall(r"^(\w+) +(\w+) ", log.read_text(), re.M))
        for store, adapter in ADAPTERS.items():
            check(printed.get(store) == adapter, f"chimera: {store} is {printed.get(store)}, not {adapter}")
        child.send_signal(signal.SIGTERM)
        try:
            check(child.wait(timeout=20) == 0, f"chimera: SIGTERM ends it with {child.returncode}")
        except subprocess.TimeoutExpired:
            check(False, "chimera: SIGTERM does not end it within the grace period")
    shown = log.read_text() + refused.stderr + key.stderr
    for name, value in environment.items():
        secrets = re.findall(r"://\w+:([^@]+)@", value) or ([value] if name == "CHIMERA_DATA_SECRET" else [])
        check(not any(secret in shown for secret in secrets), f"chimera: shows the secret of {name}")


def run(services, environment, probe):
    required = os.environ.get("CONTRACT_REQUIRE", "").split(",")
    found = {
        "postgres": (POSTGRES / "postgres").exists(),
        "timescale": (POSTGRES / "postgres").exists() and TIMESCALE.exists(),
        "redis": REDIS.exists(),
    }
    for name, here in found.items():
        if not here:
            check(name not in required, f"CONTRACT_REQUIRE names {name}, and its server is not installed")
            print(f"{name} is not installed: what compose.yaml says of it was not tried")
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        os.chmod(folder, 0o755)
        starts = {"postgres": postgres, "timescale": postgres, "redis": redis}
        ports = {
            name: stack.enter_context(start(name, services[name], folder)) for name, start in starts.items() if found[name]
        }
        if len(ports) < len(starts):
            return
        environment = environment | services["chimera"]["environment"]
        environment |= {"CHIMERA_DATA_DIR": f"{folder}/data", "CHIMERA_SERVER_LISTEN": f"127.0.0.1:{free_port()}"}
        for name, port in ports.items():
            for key, value in environment.items():
                environment[key] = re.sub(rf"@{name}:\d+", f"@127.0.0.1:{port}", value)
        serve(environment, probe, folder)


files = context()
environment, probe = dockerfile(ROOT / "docker/Dockerfile", files)
build_context(files)
services, _ = composition(ROOT / "docker/compose.yaml", environment)
run(services, environment, probe)
print(f"{passed} passed, {len(failures)} failed")
sys.exit(bool(failures))
