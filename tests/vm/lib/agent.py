#!/usr/bin/python3
"""Runs a command in a virtual machine through QEMU's guest agent, and returns its output and exit status.

Usage: agent.py SOCKET ping
       agent.py SOCKET run SECONDS COMMAND...
"""

import base64
import json
import os
import socket
import sys
import time


class Agent:
    """One connection; a question and its answer are one line each."""

    def __init__(self, path, patience):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(patience)
        self.socket.connect(path)
        self.kept = b""
        # An earlier question may have been left unanswered: answers up to the mark are not ours.
        mark = int.from_bytes(os.urandom(4), "big")
        self.socket.sendall(b"\xff" + json.dumps({"execute": "guest-sync", "arguments": {"id": mark}}).encode() + b"\n")
        while self.answer().get("return") != mark:
            pass

    def answer(self):
        """The next answer that is one."""
        while True:
            while b"\n" not in self.kept:
                chunk = self.socket.recv(65536)
                if not chunk:
                    raise OSError("the virtual machine is gone")
                self.kept += chunk
            line, self.kept = self.kept.split(b"\n", 1)
            try:
                return json.loads(line.lstrip(b"\xff"))
            except ValueError:
                continue

    def ask(self, question, **arguments):
        """An answer without an error."""
        self.socket.sendall(json.dumps({"execute": question, "arguments": arguments}).encode() + b"\n")
        answer = self.answer()
        if "error" in answer:
            raise OSError(answer["error"].get("desc", "unknown error"))
        return answer["return"]


def run(agent, patience, command):
    """Output to ours, status to the caller."""
    pid = agent.ask("guest-exec", path=command[0], arg=command[1:], **{"capture-output": True})["pid"]
    deadline = time.monotonic() + patience
    while not (status := agent.ask("guest-exec-status", pid=pid))["exited"]:
        if time.monotonic() > deadline:
            return 124
        time.sleep(0.2)
    sys.stdout.buffer.write(base64.b64decode(status.get("out-data", "")))
    sys.stderr.buffer.write(base64.b64decode(status.get("err-data", "")))
    return status.get("exitcode", 128 + status.get("signal", 0))


def main():
    try:
        if sys.argv[2] == "ping":
            Agent(sys.argv[1], 2.0)
            return 0
        patience = float(sys.argv[3])
        return run(Agent(sys.argv[1], patience), patience, sys.argv[4:])
    except OSError as error:
        print(f"the guest agent does not answer: {error}", file=sys.stderr)
        return 125


if __name__ == "__main__":
    sys.exit(main())
