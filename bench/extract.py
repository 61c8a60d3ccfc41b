#!/usr/bin/env python3
"""Main-text extraction beside trafilatura and resiliparse: character F1 on pages with gold text, pictures found, pages a second.

    python3 -m venv .venv && .venv/bin/pip install trafilatura lxml_html_clean resiliparse lxml
    cargo build --release
    .venv/bin/python bench/extract.py --data ../shared/data/html --rounds 3

F1 is taken over the bag of letters and digits of a text (blanks, punctuation and markup are left out; the author's markdown loses its markup
first), over runs of four of them, which hears order, and over prose alone (see `program_lines`). All figures are also given for the two
halves of the pages by hash of their names: rules were tuned on the even half only. Gold of kind `with_without` counts strings found and
strings wrongly kept.

Pictures: those the author's markdown or the expected HTML names (`gold`), and those in the main part of every page that is no list
(`main part`): the smallest element that holds four fifths of the text that the gold has or, without gold, that all tools keep;
see `main_pictures`. A picture is found when an address with the same last part is in the output.

Every tool gets the same bytes, one thread, each page alone in a warm process (m6: one process a round, its start and its JSON counted), tools
in turn; the best round counts. trafilatura is timed, and its text scored, without pictures, which it does better and faster; its pictures
come from a run of their own.
"""
import argparse, collections, hashlib, html, json, os, re, statistics, subprocess, sys, tarfile, tempfile, time

parser = argparse.ArgumentParser()
parser.add_argument("--bin", default="target/release/m6")
parser.add_argument("--data", default="../shared/data/html")
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--tools", default="m6,trafilatura,resiliparse")
parser.add_argument("--worst", type=int, default=0, help="also prints the pages with the lowest F1 of m6")
parser.add_argument("--out", help="also writes all figures there, as JSON")
args = parser.parse_args()


def load():
    """Pages with their bytes, in the order of the index."""
    rows = [json.loads(line) for line in open(f"{args.data}/pages.jsonl", encoding="utf-8")]
    with tarfile.open(f"{args.data}/pages.tar.gz") as tar:
        pages = {member.name.removeprefix("./"): tar.extractfile(member).read() for member in tar if member.isfile()}
    return [(row, pages[row["file"]]) for row in rows if row["file"] in pages]


def plain_of_markdown(text):
    text = re.sub(r"(?s)\A---\n.*?\n---\n", "", text)
    text = re.sub(r"(?s)<!--.*?-->", "", text)
    text = re.sub(r"!\[([^\]]*)\]\([^)]*\)", "", text)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"(?m)^\[[^\]]+\]:\s.*$", "", text)
    text = re.sub(r"(?m)^\s*(```|~~~).*$", "", text)
    text = re.sub(r"\{\{#.*?\}\}|\{%.*?%\}", "", text)
    return html.unescape(re.sub(r"</?[a-zA-Z][^<>]*>", "", text))


def program_lines(data):
    """Lines of the program text of a page. The book's markdown includes most of its listings from other files, so that a tool that keeps
    them is wrong by the gold; `prose` leaves program text out of both sides."""
    listings = re.findall(r"(?is)<pre\b.*?</pre>", data.decode("utf-8", "replace"))
    text = html.unescape(re.sub(r"<[^>]+>", "", "\n".join(listings)))
    return {"".join(line.split()) for line in text.splitlines() if line.strip()}


def prose(text, program):
    text = re.sub(r"(?ms)^\s*```.*?^\s*```\s*$", "", text)
    return "\n".join(line for line in text.splitlines() if "".join(line.strip(" `|").split()) not in program)


def gold_text(gold):
    kind = gold["type"]
    if kind == "author_markdown":
        return plain_of_markdown(gold["markdown"])
    if kind == "expected_html":
        return html.unescape(re.sub(r"<[^>]+>", " ", gold["html"]))
    return gold.get("text")


def gold_pictures(gold):
    kind = gold["type"]
    if kind == "author_markdown":
        found = re.findall(r"!\[[^\]]*\]\(\s*([^)\s]+)", gold["markdown"]) + re.findall(r"<img[^>]+src=[\"']?([^\"'\s>]+)", gold["markdown"])
    elif kind == "expected_html":
        found = re.findall(r"<img[^>]+src=\"([^\"]+)", gold["html"])
    else:
        found = []
    return {last_part(src) for src in found if last_part(src)}


def last_part(src):
    return re.split(r"[?#]", src)[0].rsplit("/", 1)[-1]


def letters(text):
    return [c for c in text if c.isalnum()]


def f1(gold, found, n):
    """F1 of bags of runs of n letters."""
    bags = []
    for text in (gold, found):
        chars = letters(text)
        bags.append(collections.Counter("".join(chars[i:i + n]) for i in range(len(chars) - n + 1)))
    same = sum((bags[0] & bags[1]).values())
    sizes = [sum(bag.values()) for bag in bags]
    return 2 * same / sum(sizes) if sum(sizes) else 1.0


def run_m6(pages, folder):
    command = [args.bin, "corpus", "extract", "--batch", folder, "--json", "--threads", "1", "--quiet"]
    done = subprocess.run(command, capture_output=True)
    if done.returncode:
        sys.exit(done.stderr.decode())
    return done.stdout


def read_m6(out):
    rows = [json.loads(line) for line in out.decode("utf-8").splitlines()]
    return {row["source"]: (row.get("text", ""), [image["src"] for image in row.get("images", [])]) for row in rows}


def run_trafilatura(pages, folder):
    import trafilatura
    return {row["file"]: trafilatura.extract(data, include_comments=False, include_tables=True) or "" for row, data in pages}


def read_trafilatura(out, pages):
    import trafilatura
    texts = {}
    for row, data in pages:
        marked = trafilatura.extract(data, include_comments=False, include_tables=True, include_images=True) or ""
        texts[row["file"]] = (out[row["file"]], re.findall(r"!\[[^\]]*\]\(([^)\s]+)", marked))
    return texts


def run_resiliparse(pages, folder):
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.html import HTMLTree
    trees = ((row, HTMLTree.parse(decode(data))) for row, data in pages)
    return {row["file"]: (extract_plain_text(tree, main_content=True, alt_texts=False), []) for row, tree in trees}


def decode(data):
    from resiliparse.parse.encoding import bytes_to_str, detect_encoding
    return bytes_to_str(data, detect_encoding(data))


def measure(pages):
    tools = {name: globals()[f"run_{name}"] for name in args.tools.split(",")}
    seconds, outputs = collections.defaultdict(list), {}
    with tempfile.TemporaryDirectory() as folder:
        for row, data in pages:
            with open(os.path.join(folder, row["file"]), "wb") as file:
                file.write(data)
        for turn in range(args.rounds):
            order = list(tools) if turn % 2 == 0 else list(tools)[::-1]
            for name in order:
                start = time.perf_counter()
                outputs[name] = tools[name](pages, folder)
                seconds[name].append(time.perf_counter() - start)
    if "m6" in outputs:
        outputs["m6"] = read_m6(outputs["m6"])
    if "trafilatura" in outputs:
        outputs["trafilatura"] = read_trafilatura(outputs["trafilatura"], pages)
    return seconds, outputs


def squeeze(text):
    return "".join(c for c in text if c.isalnum())


def long_lines(text):
    return {line for line in map(squeeze, text.splitlines()) if len(line) >= 15}


def main_text(row, outputs):
    """Lines of the main text: the gold's, or those that all tools keep."""
    gold = row["gold"] and gold_text(row["gold"])
    if gold:
        return long_lines(gold)
    votes = collections.Counter(line for output in outputs.values() for line in long_lines(output[row["file"]][0]))
    return {line for line, n in votes.items() if n == len(outputs)}


def main_pictures(row, data, lines):
    """Addresses (last parts) of each picture in the smallest element with four fifths of the main text, furniture and icons left out."""
    import lxml.html
    text = re.sub(r"^\s*<\?xml[^>]*\?>", "", decode(data)).replace("\0", "")
    whole, sums = "\n".join(lines), collections.Counter()
    root = lxml.html.document_fromstring(text)
    for node in root.iter():
        if not isinstance(node.tag, str) or node.tag in ("script", "style", "title"):
            continue
        for run in [node.text or "", *((child.tail or "") for child in node)]:
            run = squeeze(run)
            if len(run) >= 8 and run in whole:
                for part in [node, *node.iterancestors()]:
                    sums[part] += len(run)
    if not sums:
        return []
    main = min((node for node, n in sums.items() if n >= 0.8 * sums[root]), key=lambda node: -len(list(node.iterancestors())))
    pictures = []
    for image in main.iter("img"):
        inside = {part.tag for part in image.iterancestors()}
        size = [int(v) for v in (image.get("width", ""), image.get("height", "")) if v.isdigit()]
        if inside & {"nav", "aside", "footer"} or any(side < 60 for side in size):
            continue
        late = [v for k, v in image.items() if (k.startswith("data-") or "src" in k or "lazy" in k) and k not in ("src", "srcset")]
        late = [v.strip() for v in late if re.fullmatch(r"(https?:)?//\S+|[\w./-]+\.(jpe?g|png|gif|webp)\S*", v.strip())]
        sources = [v for v in late or [image.get("src", "")] if v and not v.startswith("data:")]
        if parts := {last_part(v) for v in sources} - {""}:
            pictures.append(parts)
    return pictures


def at_prose(row, data, gold, text):
    if "{{#" not in gold.get("markdown", ""):
        return f1(gold_text(gold), text, 1)
    program = program_lines(data)
    return f1(prose(plain_of_markdown(prose(gold["markdown"], program)), program), prose(text, program), 1)


def score(pages, output):
    rows = []
    for row, data in pages:
        gold = row["gold"]
        if not gold:
            continue
        text, pictures = output.get(row["file"], ("", []))
        wanted = gold_text(gold)
        at = {"file": row["file"], "group": f"{row['kind']}", "pictures": len(gold_pictures(gold)),
              "found": len(gold_pictures(gold) & {last_part(src) for src in pictures})}
        if wanted is not None:
            # A prefix of the text as gold is compared with as much of the output.
            cut = text if gold["type"] != "text_prefix" else text[:len(wanted)]
            at.update(f1=f1(wanted, cut, 1), f1_4=f1(wanted, cut, 4), prose=at_prose(row, data, gold, cut))
        else:
            flat = "".join(text.split())
            hit = sum("".join(s.split()) in flat for s in gold["with"])
            bad = sum("".join(s.split()) in flat for s in gold["without"])
            at.update(hit=f"{hit}/{len(gold['with'])}", bad=f"{bad}/{len(gold['without'])}")
        rows.append(at)
    return rows


def half(file):
    return "even" if hashlib.sha256(file.encode()).digest()[0] % 2 == 0 else "odd"


def print_f1(rows):
    groups = sorted({row["group"] for row in rows})
    for group in ["all", "even half", "odd half", *groups]:
        scored = [row for row in rows if "f1" in row and group in ("all", row["group"], half(row["file"]) + " half")]
        if scored:
            ones, fours, proses = ([r[key] for r in scored] for key in ("f1", "f1_4", "prose"))
            print(f"  {group:16} n {len(scored):3}  F1 mean {statistics.mean(ones):.4f} median {statistics.median(ones):.4f}  "
                  f"4-gram F1 mean {statistics.mean(fours):.4f} median {statistics.median(fours):.4f}  "
                  f"prose F1 mean {statistics.mean(proses):.4f} median {statistics.median(proses):.4f}")


def print_pictures(pages, rows, outputs, name):
    wanted, found = sum(r["pictures"] for r in rows), sum(r["found"] for r in rows)
    print(f"  pictures, gold: {found} of {wanted} found")
    wanted, found, shares = 0, 0, []
    for row, data in pages:
        if "list" in row["kind"]:
            continue
        pictures = main_pictures(row, data, main_text(row, outputs))
        addresses = {last_part(src) for src in outputs[name][row["file"]][1]}
        hits = sum(bool(parts & addresses) for parts in pictures)
        wanted, found = wanted + len(pictures), found + hits
        shares += [hits / len(pictures)] if pictures else []
    print(f"  pictures, main part: {found} of {wanted} found on {len(shares)} pages, recall {found / max(wanted, 1):.3f}, "
          f"mean of pages {statistics.mean(shares) if shares else 0:.3f}")


def main():
    pages = load()
    seconds, outputs = measure(pages)
    n_bytes = sum(len(data) for _, data in pages)
    table = {}
    for name, output in outputs.items():
        rows = score(pages, output)
        print(f"{name}: {len(pages) / min(seconds[name]):.1f} pages/s, {n_bytes / min(seconds[name]) / 1e6:.1f} MB/s "
              f"(best of {args.rounds}; median {len(pages) / statistics.median(seconds[name]):.1f})")
        print_f1(rows)
        print_pictures(pages, rows, outputs, name)
        for row in rows:
            if "hit" in row:
                print(f"  {row['file']}: strings found {row['hit']}, strings wrongly kept {row['bad']}")
        if name == "m6" and args.worst:
            for row in sorted((r for r in rows if "f1" in r), key=lambda r: r["f1_4"])[:args.worst]:
                print(f"    {row['file']} {row['group']} F1 {row['f1']:.3f} 4-gram {row['f1_4']:.3f}")
        table[name] = {"seconds": seconds[name], "rows": rows}
    if args.out:
        with open(args.out, "w", encoding="utf-8") as file:
            json.dump(table, file)


if __name__ == "__main__":
    main()
