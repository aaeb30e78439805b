"""Starts the simulators and takes care that none outlives the others.

    supervisor.py REGION ACCOUNT MINISTACK_PORT MOTO_PORT GRAFANA_PORT [OWNER_PID]

All of them, and the functions that they run, are in this process's group. The group ends with the supervisor, with any simulator,
and with the owner, if one is named: whichever is killed, nothing is left behind.
"""

import os
import runpy
import signal
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
GRACE_SECONDS = 5


def supervise(region, account, ports, owner):
    environment = dict(
        os.environ,
        # Functions inherit these, and call the simulator with them.
        AWS_ACCESS_KEY_ID="test",
        AWS_SECRET_ACCESS_KEY="test",
        GATEWAY_PORT=ports["ministack"],
        BIND_HOST="127.0.0.1",
        MINISTACK_HOST="127.0.0.1",
        MINISTACK_REGION=region,
        MINISTACK_ACCOUNT_ID=account,
        SFTP_ENABLED="0",
        IOT_MTLS_ENABLED="0",
        MOTO_ACCOUNT_ID=account,
        MOTO_IAM_LOAD_MANAGED_POLICIES="true",
        PYTHONUNBUFFERED="1",
    )
    simulators = {
        name: subprocess.Popen(
            [sys.executable, __file__, "simulate", name, port, region],
            # Held open and never written to: its end tells the simulator that the supervisor is gone.
            stdin=subprocess.PIPE,
            stdout=open(f"{name}.log", "ab"),
            stderr=subprocess.STDOUT,
            env=environment,
        )
        for name, port in ports.items()
    }
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    signal.signal(signal.SIGINT, lambda *_: stopping.set())
    while not stopping.wait(0.3):
        gone = [name for name, process in simulators.items() if process.poll() is not None]
        if gone:
            print(f"{', '.join(gone)} ended; see its log. Stopping the others.", flush=True)
            break
        if owner is not None and not alive(owner):
            break
    for process in simulators.values():
        process.terminate()
    end = time.monotonic() + GRACE_SECONDS
    while time.monotonic() < end and any(process.poll() is None for process in simulators.values()):
        time.sleep(0.1)
    end_group()


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def end_group():
    os.killpg(os.getpgrp(), signal.SIGKILL)


def simulate(name, port, region):
    def end_with_supervisor():
        while os.read(0, 1):
            pass
        end_group()

    threading.Thread(target=end_with_supervisor, daemon=True).start()
    file, *arguments = {
        "ministack": ["ministack_corrected.py"],
        "moto": ["moto_corrected.py", "-H", "127.0.0.1", "-p", port],
        "grafana": ["grafana_shim.py", port, region],
    }[name]
    sys.argv = [file, *arguments]
    runpy.run_path(os.path.join(HERE, file), run_name="__main__")


if __name__ == "__main__":
    if sys.argv[1] == "simulate":
        simulate(*sys.argv[2:5])
    else:
        supervise(
            sys.argv[1],
            sys.argv[2],
            dict(zip(("ministack", "moto", "grafana"), sys.argv[3:6])),
            int(sys.argv[6]) if len(sys.argv) > 6 else None,
        )
