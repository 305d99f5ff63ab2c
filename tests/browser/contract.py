"""The fields that a page may read of what the server sends: those of the Python dataclasses.

In every page of the browser tests, the scenes of the viewer and the states of the player are wrapped in proxies.
Reading a field that its dataclass does not have fails the test. The fields that were read are collected, so that a
test can also find those that nothing reads. Copying a field (a spread, JSON) is not reading it.
"""

from __future__ import annotations

import dataclasses
import json
import typing
from typing import Any

from gsr_app.viewer.contract import Scene
from gsr_app.viewer.player.contract import PlayerState


def fields_below(kind: type) -> dict[str, dict[str, str | None]]:
    """{dataclass: {field: the dataclass that it holds, if any}}, of a dataclass and all that it is made of."""
    found: dict[str, dict[str, str | None]] = {kind.__name__: {}}
    hints = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        inner = _dataclass_in(hints[field.name])
        found[kind.__name__][field.name] = inner and inner.__name__
        if inner:
            found.update(fields_below(inner))
    return found


def _dataclass_in(hint: Any) -> type | None:
    if dataclasses.is_dataclass(hint):
        return typing.cast(type, hint)
    return next((found for part in typing.get_args(hint) if (found := _dataclass_in(part))), None)


def names_below(kind: type) -> set[str]:
    return {f"{name}.{field}" for name, fields in fields_below(kind).items() for field in fields}


# `checked(value, kind)` is a value that knows its fields. Errors are also thrown from a timer, where no catch hides them.
SCRIPT = """(() => {
  const kinds = KINDS;
  const proxies = new WeakMap();
  window.contractReads = new Set();
  window.checked = (value, kind) => {
    if (!kind || value === null || typeof value !== "object") return value;
    if (Array.isArray(value)) return value.map((item) => checked(item, kind));
    if (proxies.has(value)) return proxies.get(value);
    let copied = null;
    const get = (target, name) => {
      if (typeof name === "symbol" || name === "then") return target[name];
      if (name === "toJSON") return () => target;
      if (!(name in kinds[kind])) {
        const error = new Error(`${kind}.${name} is read, and not sent`);
        setTimeout(() => { throw error; });
        throw error;
      }
      if (name !== copied) contractReads.add(`${kind}.${name}`);
      copied = null;
      return checked(target[name], kinds[kind][name]);
    };
    const getOwnPropertyDescriptor = (target, name) => Reflect.getOwnPropertyDescriptor(target, (copied = name));
    const proxy = new Proxy(value, { get, getOwnPropertyDescriptor });
    proxies.set(value, proxy).set(proxy, proxy);
    return proxy;
  };
  window.checkedReport = (report) => {
    for (const page of report.pages) page.scene = checked(page.scene, "Scene");
    return report;
  };
  const intercept = (property, method, kind) =>
    Object.defineProperty(HTMLElement.prototype, property, {
      set(component) {
        component[method] = (value) => Object.getPrototypeOf(component)[method].call(component, checked(value, kind));
        Object.defineProperty(this, property, { value: component });
      },
    });
  intercept("viewer", "setScene", "Scene");
  intercept("player", "setState", "PlayerState");
})();
""".replace("KINDS", json.dumps(fields_below(Scene) | fields_below(PlayerState)))
