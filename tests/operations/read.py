"""Reads the pages and examples on operations.

    read.py commands    prints every kubemint command line, its words separated by tabs
    read.py check       checks pipelines, crontab, shell blocks, alerts and links; needs PyYAML
"""

import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples/operations"
PAGES = [ROOT / "docs/operations.md", ROOT / "docs/emergency.md"]
# What kubemint can be asked for. Options and values are for the program itself to judge.
SUBCOMMANDS = "init validate plan apply refresh status verify revoke merge credential schema completions man help"
# Programs that start another: what stands before the command that they start.
WRAPPERS = [r"flock -n \S+", r"runuser -u \S+ --", r"sudo -u \S+", r"if", r"then", r"do", r"else", r"!", r"\{"]
START = re.compile(
    r"^\s*(?:(?:%s|[A-Za-z_]\w*=\S*)\s+)*(?:/usr/local/bin/)?kubemint(?=\s|$)" % "|".join(WRAPPERS)
)
CRON = re.compile(r"^(?:[\d*/,-]+ +){5}(?P<command>\S.*)$")


def fail(message):
    sys.exit(f"error: operations: {message}")


def simple_commands(shell):
    """Splits shell text into simple commands, without redirections and comments."""
    shell = shell.replace("\\\n", " ")
    lexer = shlex.shlex(shell, posix=False, punctuation_chars="|&;()<>\n")
    lexer.whitespace = " \t"
    lexer.whitespace_split = True
    # A `#` begins a comment only at the beginning of a word, which shlex does not know.
    lexer.commenters = ""
    words, commands, skip, comment = [], [], False, False
    for token in lexer:
        if set(token) <= set("|&;()<>\n"):
            comment = comment and "\n" not in token
            if comment:
                continue
            if ("<" in token or ">" in token) and "(" not in token:
                # The number of a redirected file and the file itself.
                if words and words[-1].isdigit():
                    fail(f"write no numbered redirection, it is not understood here: {shell.strip()}")
                skip = "\n" not in token
                continue
            commands.append(" ".join(words))
            words, skip = [], False
        elif comment:
            continue
        elif token.startswith("#"):
            comment = True
        elif skip:
            skip = False
        else:
            words.append(token)
    commands.append(" ".join(words))
    return [command for command in commands if command]


def shell_texts(path):
    """Returns what a file has to be read by a shell, or by systemd."""
    text = path.read_text()
    inline = re.findall(r"(?<!`)`([^`\n]+)`(?!`)", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))
    texts = [span for span in inline if START.match(span)]
    if path.suffix == ".md":
        texts += shell_blocks(text)
    elif path.suffix == ".service":
        texts += re.findall(r"^Exec\w+=[-@:+!]*(.*)$", text.replace("\\\n", " "), flags=re.M)
    elif path.name == "crontab":
        texts += [match["command"] for match in map(CRON.match, text.splitlines()) if match]
    elif path.name in ("github-actions.yml", "gitlab-ci.yml"):
        texts += yaml_shell_lines(text)
    return texts


def shell_blocks(text):
    return re.findall(r"^```sh\n(.*?)^```", text, flags=re.M | re.S)


def yaml_shell_lines(text):
    """Returns the lines of a pipeline that may be shell; needs no YAML, so that `commands` runs anywhere."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    return [re.sub(r"^\s*(?:- )?(?:run: )?", "", line) for line in lines if "kubemint " in line]


def command_lines():
    """Returns every command line as its words, each once, in the order of the files."""
    found = {}
    for path in [*PAGES, *sorted(EXAMPLES.iterdir())]:
        here = []
        for text in shell_texts(path):
            for command in simple_commands(text):
                if not START.match(command):
                    continue
                words = shlex.split(START.sub("kubemint", command))
                if "\t" in "".join(words):
                    fail(f"{path.name}: a tab in a command line: {command}")
                if words[1:2] and not words[1].startswith("-") and words[1] not in SUBCOMMANDS.split():
                    fail(f"{path.name}: kubemint has no command {words[1]}: {command}")
                here.append(words)
        # A command line in a place where this does not look would never be checked.
        subcommand = "|".join(SUBCOMMANDS.split())
        mentioned = len(re.findall(rf"(?<![\w-])kubemint +(?:{subcommand})\b", path.read_text()))
        with_subcommand = sum(any(word in SUBCOMMANDS.split() for word in words[1:2]) for words in here)
        if mentioned != with_subcommand:
            fail(f"{path.name}: {mentioned} command lines are mentioned and {with_subcommand} recognised:\n"
                 + "\n".join(map(shlex.join, here)))
        for words in here:
            if len(words) > 1:
                found.setdefault(tuple(words), path.name)
    return found


def check_shell(where, script):
    if "${{" in script:
        fail(f"{where}: an expression inside a script runs whatever it expands to; use env")
    run = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True)
    if run.returncode != 0:
        fail(f"{where}: {run.stderr.strip()}")


def check_pipelines(yaml):
    scripts = 0
    github = yaml.safe_load((EXAMPLES / "github-actions.yml").read_text())
    # YAML 1.1 reads the key `on` as true.
    for key in ("name", True, "permissions", "jobs"):
        if key not in github:
            fail(f"github-actions.yml: no {key}")
    if "pull_request_target" in github[True]:
        fail("github-actions.yml: pull_request_target gives secrets to forks")
    for name, job in github["jobs"].items():
        for key in ("runs-on", "timeout-minutes", "steps"):
            if key not in job:
                fail(f"github-actions.yml: job {name} has no {key}")
        for step in job["steps"]:
            if ("run" in step) == ("uses" in step):
                fail(f"github-actions.yml: a step of {name} needs either run or uses")
            if "run" in step:
                check_shell(f"github-actions.yml: {name}", step["run"])
                scripts += 1
    gitlab = yaml.safe_load((EXAMPLES / "gitlab-ci.yml").read_text())
    jobs = {name: job for name, job in gitlab.items() if name not in ("stages", "variables") and not name.startswith(".")}
    for name, job in jobs.items():
        if job.get("stage") not in gitlab["stages"] or not job.get("script") or job.get("extends", name) not in gitlab:
            fail(f"gitlab-ci.yml: job {name} lacks a stage of `stages`, a script, or what it extends")
    for name, job in gitlab.items():
        for part in ("before_script", "script", "after_script"):
            if isinstance(job, dict) and part in job:
                if not all(isinstance(line, str) for line in job[part]):
                    fail(f"gitlab-ci.yml: a line of {name} is no string")
                check_shell(f"gitlab-ci.yml: {name}", "\n".join(job[part]))
                scripts += 1
    return len(github["jobs"]) + len(jobs), scripts


def check_crontab():
    for number, line in enumerate((EXAMPLES / "crontab").read_text().splitlines(), 1):
        if not line or line.startswith("#") or re.match(r"^[A-Z]+=\S", line):
            continue
        match = CRON.match(line)
        if not match:
            fail(f"crontab:{number}: neither a variable nor five fields and a command")
        if "%" in line:
            fail(f"crontab:{number}: cron turns % into a line break")
        check_shell(f"crontab:{number}", match["command"])


def check_alerts(yaml):
    rules = [rule for group in yaml.safe_load((EXAMPLES / "alerts.yml").read_text())["groups"] for rule in group["rules"]]
    tests = yaml.safe_load((EXAMPLES / "alerts-test.yml").read_text())["tests"]
    fires = {case["alertname"] for test in tests for case in test["alert_rule_test"] if case.get("exp_alerts")}
    silent = {case["alertname"] for test in tests for case in test["alert_rule_test"] if not case.get("exp_alerts")}
    page = PAGES[0].read_text()
    documented = set(re.findall(r"`(kubemint_\w+)", page))
    for rule in rules:
        name = rule["alert"]
        if name not in fires or name not in silent:
            fail(f"alerts.yml: {name} needs a test where it fires and one where it does not")
        if f"`{name}`" not in page:
            fail(f"docs/operations.md does not mention {name}")
        for metric in set(re.findall(r"\bkubemint_\w+", rule["expr"])) - documented:
            fail(f"alerts.yml: {name} uses {metric}, which docs/operations.md does not list")
    for name in fires | silent:
        if name not in {rule["alert"] for rule in rules}:
            fail(f"alerts-test.yml: there is no {name}")


def check_pages():
    mentioned = "".join(page.read_text() for page in PAGES)
    for path in EXAMPLES.iterdir():
        if path.name not in mentioned:
            fail(f"no page mentions {path.name}")
    for page in PAGES:
        text = page.read_text()
        for link in re.findall(r"\]\(([^)#]+)", text):
            if not (page.parent / link).exists():
                fail(f"{page.name}: {link} does not exist")
        for block in shell_blocks(text):
            check_shell(page.name, block)


def main():
    if sys.argv[1:] == ["commands"]:
        for words in command_lines():
            print("\t".join(words))
    elif sys.argv[1:] == ["check"]:
        import yaml

        jobs, scripts = check_pipelines(yaml)
        print(f"operations: {jobs} jobs and their {scripts} scripts parse")
        check_crontab()
        check_alerts(yaml)
        check_pages()
        commands = command_lines()
        if len(commands) < 20:
            fail(f"only {len(commands)} command lines were found")
        print(f"operations: {len(commands)} command lines")
    else:
        sys.exit(__doc__)


main()
