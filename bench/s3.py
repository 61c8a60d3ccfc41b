#!/usr/bin/env python3
"""Builds one corpus three times and compares the digests: from local files; from an S3 server into it, by two slices with two scratch
folders one of which is killed in the middle (SIGKILL) and run again; and once more from a third, empty scratch folder, which must make
nothing itself. The server is moto's, on loopback; nothing else is talked to.

    cargo build --release -p m6 --features s3
    pip install 'moto[server]'
    python3 bench/s3.py [--bin target/release/m6] [--work target/s3] [--pages 1500] [--kills 3]

Prints one JSON object. Exit status 1 when a digest differs, finished work is repeated, or what lies in the store is not the corpus.
"""
import argparse, hashlib, json, os, random, shutil, signal, socket, subprocess, sys, time, urllib.error, urllib.request

parser = argparse.ArgumentParser()
parser.add_argument("--bin", default="target/release/m6")
parser.add_argument("--work", default="target/s3")
parser.add_argument("--pages", type=int, default=1500)
parser.add_argument("--kills", type=int, default=3)
parser.add_argument("--seed", type=int, default=1)
args = parser.parse_args()
random.seed(args.seed)
shutil.rmtree(args.work, ignore_errors=True)
os.makedirs(args.work)
place = lambda name: os.path.abspath(os.path.join(args.work, name))

with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
ENDPOINT = f"http://127.0.0.1:{port}"
ENV = {**os.environ, "AWS_ENDPOINT_URL": ENDPOINT, "AWS_ALLOW_HTTP": "true", "AWS_ACCESS_KEY_ID": "id",
       "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1", "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def ask(method, path, body=None):
    # The server checks no signature, but knows requests for S3 by the form of one.
    sign = "AWS4-HMAC-SHA256 Credential=id/20200101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
    request = urllib.request.Request(f"{ENDPOINT}/{path}", data=body, method=method,
                                     headers={"Authorization": sign, "Content-Type": "application/octet-stream"})
    try:
        with opener.open(request, timeout=60) as answer:
            return answer.read()
    except urllib.error.HTTPError as error:
        if error.code == 404 and method == "GET":
            return None
        raise


def build(config, out, *more):
    words = [args.bin, "corpus", "build", config, "--out", out, "--json", "-q", *more]
    return subprocess.Popen(words, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def answer(process):
    out, err = process.communicate()
    if process.returncode != 0:
        sys.exit(f"exit status {process.returncode}: {err}")
    return json.loads(out)


def ends(scratch):
    """Results that this scratch folder's processes finished themselves, one line for each time."""
    path, out = os.path.join(scratch, "work", "log.jsonl"), []
    for line in open(path) if os.path.exists(path) else []:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if row["event"] == "end":
            out.append((row["stage"], row["key"]))
    return out


def config(name, root):
    text = f"""[corpus]
root = "{root}"
shard_mb = 1
[[corpus.sources]]
name = "web"
kind = "archive"
path = "*.warc.gz"
langs = ["zh"]
modality = ["text", "pairs", "documents"]
[corpus.assets]
truth = "{place('web/truth.jsonl')}"
"""
    path = place(name)
    open(path, "w").write(text)
    return path


server = subprocess.Popen([sys.executable, "-c", "import sys; from moto.server import main; main(sys.argv[1:])",
                           "-H", "127.0.0.1", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
try:
    subprocess.run([args.bin, "corpus", "world", "--out", place("web"), "--pages", str(args.pages), "--per-file", "500", "-q"],
                   check=True, stdout=subprocess.DEVNULL)
    for _ in range(240):
        try:
            opener.open(f"{ENDPOINT}/moto-api/", timeout=5)
            break
        except OSError:
            time.sleep(0.25)
    ask("PUT", "m6-bench")
    n_files = 0
    for name in sorted(os.listdir(place("web"))):
        if name.endswith(".warc.gz"):
            ask("PUT", f"m6-bench/in/{name}", open(place(f"web/{name}"), "rb").read())
            n_files += 1

    begun = time.time()
    local = answer(build(config("local.toml", place("web")), place("local")))
    local_seconds = time.time() - begun
    remote, out = config("remote.toml", "s3://m6-bench/in"), "s3://m6-bench/corpus"
    plan = answer(build(remote, out, "--dry-run"))["plan"]

    scratch = [place(f"scratch-{index}") for index in range(2)]
    slices = lambda index: build(remote, out, "--scratch", scratch[index], "--shard", f"{index}/2")
    begun = time.time()
    running, n_kills = [slices(0), slices(1)], 0
    while n_kills < args.kills:
        # In the middle: as soon as it has finished something more.
        before = len(ends(scratch[1]))
        while len(ends(scratch[1])) == before and running[1].poll() is None:
            time.sleep(0.01)
        if running[1].poll() is not None:
            break
        time.sleep(random.uniform(0, 0.1))
        running[1].send_signal(signal.SIGKILL)
        running[1].communicate()
        n_kills += 1
        running[1] = slices(1)
    parts = [answer(process) for process in running]
    whole = answer(build(remote, out, "--scratch", scratch[0]))
    remote_seconds = time.time() - begun
    again = answer(build(remote, out, "--scratch", place("scratch-2")))

    made = ends(scratch[0]) + ends(scratch[1])
    manifest = json.loads(ask("GET", "m6-bench/corpus/manifest.json"))
    wrong = [file["name"] for file in json.load(open(place("scratch-2/manifest.json")))["files"]
             if hashlib.sha256(ask("GET", f"m6-bench/corpus/{file['name']}") or b"").digest()
             != hashlib.sha256(open(place(f"scratch-2/{file['name']}"), "rb").read()).digest()]
    digests = {local["digest"], whole["digest"], again["digest"], manifest["digest"]}
    result = {"pages": args.pages, "files": n_files, "listed": plan[0]["files"], "bytes": plan[0]["bytes"], "kills": n_kills,
              "shards": [part["shards"] for part in parts], "made": len(made), "made_twice": len(made) - len(set(made)),
              "made_by_third": again["made"], "found_by_third": again["found"], "wrong_in_store": wrong,
              "identical": len(digests) == 1, "local_seconds": round(local_seconds, 1), "remote_seconds": round(remote_seconds, 1)}
    print(json.dumps(result))
    good = (result["identical"] and not wrong and result["made_twice"] == 0 and again["made"] == 0 and n_kills > 0
            and plan[0]["files"] == n_files and min(result["shards"]) > 0)
    sys.exit(0 if good else 1)
finally:
    server.terminate()
    server.wait()
