package runtimes

import (
	"strings"
	"testing"
)

func py(source string) map[string]string { return map[string]string{"index.py": source} }

var pythonRows = []row{
	{name: "result", files: py("def handler(e, c):\n  return {'got': e['n'] + 1}"), event: `{"n":41}`, want: `{"got": 42}`},
	{name: "none", files: py("def handler(e, c):\n  pass"), want: `null`},
	{name: "ascii", files: py("def handler(e, c):\n  return 'ü'"), want: `"\u00fc"`},
	{name: "package", handler: "src/app.fn", files: map[string]string{"src/app.py": "def fn(e, c):\n  return 'path'"}, want: `"path"`},
	{name: "dotted package", handler: "src.app.fn", files: map[string]string{"src/__init__.py": "", "src/app.py": "from src import other\ndef fn(e, c):\n  return other.x",
		"src/other.py": "x = 'dot'"}, want: `"dot"`},
	{name: "context", files: py("def handler(e, c):\n  return [c.function_name, c.function_version, c.memory_limit_in_mb, c.aws_request_id,\n" +
		"    c.invoked_function_arn.split(':')[-1], c.log_group_name, '[$LATEST]' in c.log_stream_name, c.client_context.custom['k'],\n" +
		"    c.client_context.client.app_title, c.identity.cognito_identity_id, 10000 < c.get_remaining_time_in_millis() <= 60000]"),
		want: `["fn", "$LATEST", "256", "request-1", "fn", "/aws/lambda/fn", true, "v", "t", null, true]`},
	{name: "environment", files: py("import os\ndef handler(e, c):\n  v = os.environ\n  return [v['AWS_REGION'], v['_HANDLER'], v['TZ'], v['AWS_EXECUTION_ENV'],\n" +
		"    v['LAMBDA_TASK_ROOT'] == os.getcwd(), v['_X_AMZN_TRACE_ID'][:5], v.get('AWS_LAMBDA_RUNTIME_API')]"),
		want: `["eu-central-1", "index.handler", ":UTC", "AWS_Lambda_python3.11", true, "Root=", null]`},
	{name: "trace id", alone: true, files: py("import os, subprocess\ndef handler(e, c):\n  v, n = os.environ, '_X_AMZN_TRACE_ID'\n  t = v[n]\n" +
		"  child = lambda env: t in subprocess.run(['env'], env=env, capture_output=True, text=True).stdout\n" +
		"  return [n in v, dict(v)[n] == t, os.environb[n.encode()] == t.encode(), child(v), child(None), v.pop(n) == t, n in v]"),
		want: `[true, true, true, true, false, true, false]`},
	{name: "import path", files: py("import sys, os\ndef handler(e, c):\n  return [sys.path[0] == os.environ['LAMBDA_TASK_ROOT'], any('dist-packages' in p for p in sys.path)]"),
		want: `[true, false]`},
	{name: "print", files: py("def handler(e, c):\n  print('hello')\n  print('no end', end='')\n  return 1"), want: "1", log: "hello\nno end"},
	{name: "logging", files: py("import logging\nlogging.getLogger().setLevel('INFO')\ndef handler(e, c):\n  logging.info('told %s', 'you')\n  return 1"), want: "1",
		log: "Z\trequest-1\ttold you\n"},
	{name: "logging later", files: py("def handler(e, c):\n  import logging\n  logging.warning('w')\n  return len(logging.getLogger().handlers)"), want: "1",
		log: "[WARNING]\t20"},
	{name: "raises", files: py("def handler(e, c):\n  raise ValueError('no')"), error: "ValueError",
		want: `"errorMessage": "no", "errorType": "ValueError", "requestId": "request-1", "stackTrace": ["  File \"`, log: "[ERROR] ValueError: no\rTraceback (most recent call last):\r"},
	{name: "stack begins with user code", files: py("def handler(e, c):\n  raise ValueError('no')"), error: "ValueError", want: `index.py\", line 2, in handler\n    raise ValueError('no')\n"]}`},
	{name: "marshal", files: py("def handler(e, c):\n  return {1, 2}"), error: "Runtime.MarshalError", want: "Unable to marshal response: Object of type set is not JSON serializable"},
	{name: "circular", files: py("def handler(e, c):\n  a = []\n  a.append(a)\n  return a"), error: "Runtime.MarshalError", want: "Circular reference"},
	{name: "hostile str", files: py("class E(Exception):\n  def __str__(self): raise RuntimeError()\ndef handler(e, c):\n  raise E()"), error: "E", want: "str() failed"},
	{name: "threads left over", files: py("import threading, time\ndef handler(e, c):\n  threading.Thread(target=time.sleep, args=(60,)).start()\n  return 1"), want: "1"},
	{name: "large event and result", files: py("def handler(e, c):\n  return e"), event: `"` + strings.Repeat("x", 5<<20) + `"`, want: `"` + strings.Repeat("x", 5<<20) + `"`},
	{name: "result over the limit", files: py("def handler(e, c):\n  return 'x' * (7 * 1024 * 1024)"), error: "Function.ResponseSizeTooLarge", want: "(7340034 bytes)"},
	{name: "sys.exit", files: py("import sys\ndef handler(e, c):\n  sys.exit(4)"), exit: true, error: "Runtime.ExitError", want: "Runtime exited with error: exit status 4"},
	{name: "sys.exit 0", files: py("import sys\ndef handler(e, c):\n  sys.exit()"), exit: true, error: "Runtime.ExitError", want: "Runtime exited without providing a reason"},
	{name: "killed", files: py("import os\ndef handler(e, c):\n  os.kill(os.getpid(), 9)"), exit: true, error: "Runtime.ExitError", want: "signal: killed"},
	{name: "daemon holds the socket", files: py("import os, time\ndef handler(e, c):\n  if os.fork() == 0:\n    os.setsid()\n    time.sleep(2)\n  os._exit(2)"),
		exit: true, error: "Runtime.ExitError", want: "Error: Runtime"},
}

var pythonInitRows = []row{
	{name: "missing module", files: py(""), handler: "other.handler", error: "Runtime.ImportModuleError",
		want: `{"errorMessage": "Unable to import module 'other': No module named 'other'", "errorType": "Runtime.ImportModuleError", "requestId": "", "stackTrace": []}`,
		log:  "[ERROR] Runtime.ImportModuleError: Unable to import module 'other'"},
	{name: "missing dependency", files: py("import nope"), error: "Runtime.ImportModuleError", want: "Unable to import module 'index': No module named 'nope'"},
	{name: "syntax error", files: py("def handler(:"), error: "Runtime.UserCodeSyntaxError", want: "Syntax error in module 'index'"},
	{name: "missing function", files: py(""), error: "Runtime.HandlerNotFound", want: "Handler 'handler' missing on module 'index'"},
	{name: "malformed", files: py(""), handler: "index", error: "Runtime.MalformedHandlerName", want: "Bad handler 'index'"},
	{name: "built-in", files: py(""), handler: "sys.exit", error: "Runtime.BuiltInModuleConflict", want: "Cannot use built-in module sys as a handler module"},
	{name: "raises", files: py("raise KeyError('k')"), error: "KeyError", want: `"errorType": "KeyError"`, log: "[ERROR] KeyError"},
	{name: "exits", files: py("import sys\nsys.exit(6)"), exit: true, error: "Runtime.ExitError", want: "exit status 6"},
}

func TestPython(t *testing.T) { runRows(t, "python3.11", pythonRows) }

func TestPythonInit(t *testing.T) { runInitRows(t, "python3.11", pythonInitRows) }
