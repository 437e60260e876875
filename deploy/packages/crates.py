"""Of what a program is made, from Cargo's own metadata: crates.py LICENCES SBOM

LICENCES gets the licences of all crates that are linked into the program, each text once; SBOM gets them as a CycloneDX bill of materials (JSON), with
the checksums of Cargo.lock, and is checked against its schema. Both are the same for the same Cargo.lock. A crate without a licence's text is named by
its licence, and one without a licence is an error.
"""

import json
import subprocess
import sys
import tomllib
import uuid
from collections import defaultdict
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

TARGET = "x86_64-unknown-linux-gnu"
TEXTS = ("LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE")


def linked():
    """Packages that are linked, by id, and of each the ids of those that it needs."""
    command = ["cargo", "metadata", "--locked", "--format-version=1", f"--filter-platform={TARGET}"]
    found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    packages = {package["id"]: package for package in found["packages"]}
    needs = {
        node["id"]: sorted({dep["pkg"] for dep in node["deps"] if any(kind["kind"] is None for kind in dep["dep_kinds"])}) for node in found["resolve"]["nodes"]
    }
    root, reached = found["resolve"]["root"], set()
    waiting = [root]
    while waiting:
        if (package := waiting.pop()) not in reached:
            reached.add(package)
            waiting += needs[package]
    return packages[root], sorted((packages[id] for id in reached), key=lambda package: (package["name"], package["version"])), needs


def licences(root, packages):
    """Each text, after the names of the crates that come with it."""
    of_text, without = defaultdict(list), []
    for package in packages:
        if package is root:
            continue
        if not package["license"] and not package["license_file"]:
            sys.exit(f"{package['name']} has no licence")
        folder = Path(package["manifest_path"]).parent
        files = sorted(path for path in folder.iterdir() if path.is_file() and path.name.upper().startswith(TEXTS))
        name = f"{package['name']} {package['version']}: {package['license']}"
        for file in files:
            of_text[file.read_text(errors="replace").strip()].append(name)
        if not files:
            without.append(f"{name}, {package['repository']}")
    parts = [f"{root['name']} {root['version']} contains these crates, under these licences.\n", "Without a text of their own:\n" + "\n".join(without) + "\n"]
    for text, names in sorted(of_text.items(), key=lambda entry: entry[1]):
        parts.append("\n".join(dict.fromkeys(names)) + "\n\n" + text + "\n")
    return ("\n" + "=" * 80 + "\n\n").join(parts)


def bill(root, packages, needs):
    checksums = {(package["name"], package["version"]): package.get("checksum") for package in tomllib.loads(Path("Cargo.lock").read_text())["package"]}
    licence = LicenseFactory()
    components = {}
    for package in packages:
        name, version = package["name"], package["version"]
        url = PackageURL("cargo", None, name, version)
        checksum = checksums[name, version]
        components[package["id"]] = Component(
            name=name,
            version=version,
            type=ComponentType.APPLICATION if package is root else ComponentType.LIBRARY,
            purl=url,
            bom_ref=str(url),
            licenses=[licence.make_from_string(package["license"].replace("/", " OR "))] if package["license"] else [],
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=checksum)] if checksum else [],
        )
    bom = Bom(components=[component for id, component in components.items() if id != root["id"]])
    bom.metadata.component = components[root["id"]]
    # no time, and of the same crates the same number: two runs give the same bytes
    bom.serial_number = uuid.uuid5(uuid.NAMESPACE_URL, f"cc-archiver {root['version']} {Path('Cargo.lock').read_text()}")
    for id, component in components.items():
        bom.register_dependency(component, [components[need] for need in needs[id] if need in components])
    text = json.loads(make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string())
    text["metadata"].pop("timestamp", None)
    return json.dumps(text, indent=1, sort_keys=True) + "\n"


def main():
    into_licences, into_sbom = map(Path, sys.argv[1:])
    root, packages, needs = linked()
    into_licences.write_text(licences(root, packages))
    text = bill(root, packages, needs)
    if wrong := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        sys.exit(f"the bill of materials is not CycloneDX: {wrong}")
    into_sbom.write_text(text)
    print(f"{len(packages) - 1} crates", file=sys.stderr)


main()
