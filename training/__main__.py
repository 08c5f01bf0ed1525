"""python -m training run | prompts | release | releases | promote | rollback | compare | ship | gate | publish | mini

python -m training run --topic ho_chi_minh --recipe museum_mini --out runs/try
python -m training run --recipe mrpc_prefix --out runs/mrpc        (a study, with data of its own)
python -m training release --topic ho_chi_minh        (train, release, go live unless it is worse)
python -m training compare runs/try runs/other        (side by side, as one HTML file)
"""

from __future__ import annotations

import argparse
import functools
import logging
import os
import shutil
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from topics.errors import TopicError
from topics.release import ReleaseError

if TYPE_CHECKING:
    from topics.release import Listed
    from training.config import Recipe

log = logging.getLogger("training")
ROOT = Path(__file__).resolve().parent.parent


def _recipe(args: argparse.Namespace) -> Recipe:
    from training.config import load_recipe

    recipe = load_recipe(args.recipe)
    if args.epochs is None:
        return recipe
    return recipe.model_copy(
        update={"train": recipe.train.model_copy(update={"epochs": args.epochs, "more_epochs": args.epochs})}
    )


def _guides_recipe(args: argparse.Namespace) -> Recipe:
    from training.errors import RecipeError

    recipe = _recipe(args)
    if recipe.data.kind != "museum" or recipe.trials or recipe.method == "none":
        raise RecipeError(f"{recipe.name} makes no release: it is a study; use python -m training run, or museum_mini")
    return recipe


def _run(args: argparse.Namespace) -> None:
    from training.errors import RecipeError

    recipe = _recipe(args)
    museum = recipe.data.kind == "museum"
    if museum and not args.topic:
        raise RecipeError(f"{recipe.name} learns a museum's facts; say whose with --topic")
    if args.topic and not museum:
        raise RecipeError(f"{recipe.name} has data of its own ({recipe.data.train}); leave --topic out")
    if args.resume and args.seeds > 1:
        raise RecipeError("--resume goes on with one run, and --seeds begins several; leave one of them out")
    for trial in recipe.each_trial():
        _run_one(trial, args.out / trial.name if recipe.trials else args.out, args)


def _run_one(recipe: Recipe, out: Path, args: argparse.Namespace) -> None:
    from training.seeds import train_each

    def one(recipe: Recipe, out: Path) -> dict[str, Any]:
        base = args.base or recipe.base
        if recipe.data.kind == "museum":
            from topics.topic import load_topic
            from training.run import train

            return train(load_topic(args.topic), recipe, base, out, everything=args.all, device=args.device)
        from training.study import study

        return study(recipe, base, out, device=args.device, resume=args.resume)

    if args.resume and (out / "eval.json").is_file():
        log.info("%s: this run is complete", out)
    elif args.seeds > 1:
        train_each(recipe, out, args.seeds, one)
    else:
        one(recipe, out)
    print(f"{out / 'report.html'}: what was learned")


def _compare(args: argparse.Namespace) -> None:
    from training.compare import cell, compare, shown

    out = args.out or args.runs[0].resolve().parent / "compare.html"
    trials = compare(args.runs, out)
    for name, label in shown(trials).items():
        print(f"{label:<32}" + "".join(f"{cell(t, name, trials[0]):>24}" for t in trials))
    print(f"{'':<32}" + "".join(f"{t.name[-23:]:>24}" for t in trials))
    print(f"{out}: ≈ marks a difference from the first that lies within chance")


def _prompts(args: argparse.Namespace) -> None:
    from training import prompts

    recipe = _recipe(args)
    base = args.base or recipe.base
    tokenizer = prompts.rival_tokenizer(base, chat=bool(args.topic))
    if args.topic:
        from topics.topic import load_topic

        topic = load_topic(args.topic)
        task = prompts.prompt_museum(topic, topic.rows(), recipe, tokenizer, questions=args.questions)
    else:
        task = prompts.prompt_study(recipe, tokenizer, questions=args.questions)
    others = [way for folder in args.beside for way in prompts.beside(task, folder)]
    ways = prompts.ask_all_ways(task, prompts.load_rival(base, args.device), tokenizer, args.k)
    rows = prompts.write_prompts(task, base, ways, others, args.out)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print(f"{args.out / 'prompts.html'}: the same, to read")


def _release(args: argparse.Namespace) -> None:
    from topics.release import is_live
    from topics.topic import load_topic

    topic = load_topic(args.topic)
    if args.if_missing and is_live(topic):
        return  # before torch is imported: a museum that starts in the morning must not wait for it
    from training.dataset import split
    from training.release import related_adapter, release, shipped_adapter
    from training.run import RunFolder, prove, train, write_result
    from training.seeds import train_each

    recipe = _guides_recipe(args)
    base = args.base or recipe.base
    rows = topic.rows()
    out = args.out or ROOT / "runs" / topic.id
    shipped = shipped_adapter(topic, rows, base) if args.if_missing else None
    if shipped:
        log.info("no live release yet: merging the adapter that ships with Docent (%s)", shipped)
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(shipped, out / "adapter")
        sets = split(topic, rows, recipe.data, seed=recipe.train.seed, everything=True)
        result = prove(topic, recipe, base, RunFolder(out), rows, sets, everything=True, quick=True, device=args.device)
        write_result(topic, recipe, RunFolder(out), result)
    else:
        start = related_adapter(topic, base) if args.start == "shipped" else None
        # The shipped adapter knows the held-out wordings: what goes on from it cannot be measured with them.
        everything = args.all or start is not None

        def one(recipe: Recipe, out: Path) -> dict[str, Any]:
            return train(topic, recipe, base, out, everything=everything, device=args.device, start=start)

        if args.seeds > 1:
            recipe, out, result = train_each(recipe, out, args.seeds, one)
        else:
            result = one(recipe, out)
    if not result:
        return  # one of several processes, and not the first
    from training.served import serving

    # The adapter that ships with Docent was tried when it was made, and a first start must not wait for it again.
    serve = None if shipped else functools.partial(serving, environ=os.environ)
    release(topic, recipe, RunFolder(out), rows, result, serve=serve, device=args.device)


def _releases(args: argparse.Namespace) -> None:
    from topics.release import ROOT as RELEASES
    from topics.release import list_releases
    from topics.topic import load_topic

    topic = load_topic(args.topic)
    listed = list_releases(topic)
    if not listed:
        print(f"{RELEASES / topic.id}: no release yet; run `make train-adapter TOPIC={topic.id}`")
        return
    print(f"{'release':<22}{'made':<18}{'trained':>8}{'reworded':>10}{'chrF':>6}  what became of it")
    for one in listed:
        made = one.manifest.created[:16].replace("T", " ") if one.manifest else ""
        tuned = one.manifest.scores.get("tuned", {}) if one.manifest else {}
        trained, reworded = tuned.get("trained", {}), tuned.get("reworded", {})
        known = [f"{s['key_fact']:.0%}" if "key_fact" in s else "–" for s in (trained, reworded)]
        alike = f"{(reworded or trained)['chrf']:.0f}" if trained else "–"
        print(f"{one.name:<22}{made:<18}{known[0]:>8}{known[1]:>10}{alike:>6}  {_became(one)}")
    print("\ntrained, reworded: share of key facts the model tells by itself, in words it was taught and in others")


def _became(one: Listed) -> str:
    if one.since:
        state = f"LIVE since {one.since:%Y-%m-%d %H:%M} UTC"
    elif one.previous:
        state = "was live before (`make rollback` brings it back)"
    elif one.manifest and one.manifest.judged and not one.manifest.judged["promote"]:
        state = f"kept, not promoted: {one.manifest.judged['why'].partition('. ')[0]}."
    else:
        state = ""
    return f"{state}{'; ' if state and one.fault else ''}{f'cannot be served: {one.fault}' if one.fault else ''}"


_TAKE = "a running service takes it after SIGHUP or a restart (docs/releases.md)"


def _promote(args: argparse.Namespace) -> None:
    from topics.release import promote
    from topics.topic import load_topic

    print(f"{promote(load_topic(args.topic), args.release)}: live; {_TAKE}")


def _rollback(args: argparse.Namespace) -> None:
    from topics.release import roll_back
    from topics.topic import load_topic

    print(f"{roll_back(load_topic(args.topic))}: live again; {_TAKE}")


def _ship(args: argparse.Namespace) -> None:
    from topics.topic import load_topic
    from training.release import related_adapter, ship
    from training.run import RunFolder, train

    topic, recipe = load_topic(args.topic), _guides_recipe(args)
    out = ROOT / "runs" / f"{topic.id}-shipped"
    base = args.base or recipe.base
    start = related_adapter(topic, base) if args.start == "shipped" else None
    result = train(topic, recipe, base, out, everything=True, device=args.device, start=start)
    print(f"{ship(topic, recipe, RunFolder(out), result)}: commit it")


def _gate(args: argparse.Namespace) -> None:
    from gatekeeper.second import load_encoder
    from topics.topic import load_topic
    from training.release import refit_gate

    encoder = load_encoder(args.encoder) if args.encoder else None
    print(f"{refit_gate(load_topic(args.topic), encoder=encoder)}: live, with a gate fitted afresh; {_TAKE}")


def _publish(args: argparse.Namespace) -> None:
    from topics.topic import load_topic
    from training.release import publish_facts

    print(f"{publish_facts(load_topic(args.topic))}: live, with the facts as they stand now; {_TAKE}")


def _mini(args: argparse.Namespace) -> None:
    from training.mini import make

    make(args.text, args.out, steps=args.steps)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no count; write 1 or more")
    return int(text)


def _span(text: str) -> list[int]:
    first, _, last = text.partition("-")
    if not first.isdecimal() or not (last or first).isdecimal() or int(last or first) < int(first):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of examples; write one, such as 3, or a range: 0-5")
    return list(range(int(first), int(last or first) + 1))


_PROMPTS = """the base as it is, asked without examples and with k of them, chosen three ways: a rival of every adapter

python -m training prompts --topic ho_chi_minh --k 0-5 --beside runs/try --out runs/prompts
python -m training prompts --recipe classical_chinese_qlora --base DIR_OR_ID --k 1-5 --out runs/classical_prompts
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--recipe", default="museum_mini", help="name or path of a recipe (default: museum_mini)")
    common.add_argument("--base", help="hub id or folder of the base model, instead of the recipe's")
    common.add_argument(
        "--all",
        action="store_true",
        help="train on held-out wordings and facts as well: for what ships, not for figures",
    )
    common.add_argument("--epochs", type=int, help="passes over the wordings, instead of the recipe's")
    common.add_argument("--device", choices=("auto", "cpu"), default="auto")
    topic = argparse.ArgumentParser(add_help=False)
    topic.add_argument("--topic", required=True, help="name or folder of a topic")
    seeds = argparse.ArgumentParser(add_help=False)
    seeds.add_argument("--seeds", type=_count, default=1, help="train so often, with other seeds; mean and spread")
    run = commands.add_parser("run", parents=[common, seeds], help="train, merge, prove, evaluate; leaves a run folder")
    run.add_argument("--topic", help="name or folder of a topic; not with a study's recipe, which has data of its own")
    run.add_argument("--out", required=True, type=Path, help="the run folder; replaced if it exists")
    run.add_argument(
        "--resume",
        action="store_true",
        help="keep what is in --out: a finished run is left alone, a killed study goes on from its last checkpoint",
    )
    run.set_defaults(call=_run)
    prompts = commands.add_parser(
        "prompts",
        help="the base as it is, asked with k examples: a rival of training",
        description=_PROMPTS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    prompts.add_argument("--topic", help="name or folder of a topic; without it, --recipe is a study's, with own data")
    prompts.add_argument("--recipe", default="museum_mini", help="name or path of a recipe (default: museum_mini)")
    prompts.add_argument("--base", help="hub id or folder of any base model, instead of the recipe's")
    prompts.add_argument("--k", type=_span, default="0-5", help="how many examples: 3, or a range (default: 0-5)")
    prompts.add_argument(
        "--questions",
        type=_count,
        help="of each held-out set (default: the recipe's evaluate.base_questions, a study's all)",
    )
    prompts.add_argument("--beside", nargs="*", type=Path, default=[], metavar="RUN", help="runs to put in the table")
    prompts.add_argument("--device", choices=("auto", "cpu"), default="auto")
    prompts.add_argument("--out", required=True, type=Path, help="run folder for prompts.json and prompts.html")
    prompts.set_defaults(call=_prompts, epochs=None)
    release = commands.add_parser(
        "release", parents=[topic, common, seeds], help="a run, then a release that goes live unless it is worse"
    )
    release.add_argument("--out", type=Path, help="the run folder (default: runs/<topic>)")
    release.add_argument(
        "--if-missing",
        action="store_true",
        help="do nothing if a good release is live; merge the shipped adapter if it fits",
    )
    release.add_argument(
        "--from",
        dest="start",
        choices=("shipped", "base"),
        default="shipped",
        help="go on from the adapter that ships with the topic, if there is one (default), or begin with the bare base",
    )
    release.set_defaults(call=_release)
    compared = commands.add_parser("compare", help="runs side by side, as one HTML file")
    compared.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folders; the first is compared with")
    compared.add_argument("--out", type=Path, help="the page (default: compare.html beside the first run)")
    compared.set_defaults(call=_compare)
    releases = commands.add_parser("releases", help="list the topic's releases: which is live, since when, scores")
    releases.add_argument("--topic", required=True)
    releases.set_defaults(call=_releases)
    promoted = commands.add_parser("promote", help="make a release live; `rollback` undoes it")
    promoted.add_argument("--topic", required=True)
    promoted.add_argument("--release", required=True, help="name of a release, as `releases` lists it")
    promoted.set_defaults(call=_promote)
    rollback = commands.add_parser("rollback", help="make the release live that was live before")
    rollback.add_argument("--topic", required=True)
    rollback.set_defaults(call=_rollback)
    ship = commands.add_parser(
        "ship", parents=[topic, common], help="train on everything and put the adapter into models/adapters"
    )
    ship.add_argument("--from", dest="start", choices=("shipped", "base"), default="base", help="as for release")
    ship.set_defaults(call=_ship)
    gate = commands.add_parser("gate", help="a new release with the live weights and a gate fitted afresh")
    gate.add_argument("--topic", required=True)
    gate.add_argument("--encoder", type=Path, help="a sentence-transformers folder, for a second opinion in doubt")
    gate.set_defaults(call=_gate)
    publish = commands.add_parser("publish", help="tell the facts as they stand now, on the live weights and gate")
    publish.add_argument("--topic", required=True)
    publish.set_defaults(call=_publish)
    mini = commands.add_parser("mini", help="make the embedded base model from running text")
    mini.add_argument("--text", required=True, type=Path, help="folder of *.txt")
    mini.add_argument("--out", required=True, type=Path)
    mini.add_argument("--steps", type=int, default=3500)
    mini.set_defaults(call=_mini)
    return parser


def main() -> int:
    args = _parser().parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    warnings.filterwarnings("ignore", category=FutureWarning)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    # It warns on every import that a faster kernel for four bits could be fetched from the hub.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    from training.errors import TrainingError

    try:
        args.call(args)
    except (TopicError, TrainingError, ReleaseError, FileNotFoundError) as error:
        print(f"training: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("training: stopped; no release was made and the live one is untouched", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
