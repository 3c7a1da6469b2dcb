import os, socket
def tries(arg, files):
    out=[]
    for f in (lambda: os.kill(1,0), lambda: socket.socket(), lambda: os.execv("/bin/true",["true"]), lambda: os.mkdir("/tmp/x"), lambda: open("/tmp/xx","w")):
        try: f(); out.append("works")
        except OSError as e: out.append(e.errno)
    for _ in range(arg["n"]):
        try: os.kill(1,0)
        except OSError: pass
    return out
