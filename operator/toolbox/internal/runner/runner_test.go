package runner

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"runabout.dev/toolbox/internal/files"
	"runabout.dev/toolbox/internal/install"
	"runabout.dev/toolbox/internal/steplog/steplogtest"
	"runabout.dev/toolbox/internal/transfer"
)

// patience is how long a test waits for what has to happen.
const patience = 30 * time.Second

// TestMain lets the test program be the toolbox, in a process of its own, and the processes that it starts.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "transfer" {
		options, err := transfer.Parse(os.Args[2:])
		if err != nil {
			panic(err)
		}
		os.Exit(transfer.Run(options, os.Stdout))
	}
	if len(os.Args) > 1 && os.Args[1] == "files" {
		os.Exit(files.Run(os.Stdin, os.Stdout))
	}
	if plan := os.Getenv("TEST_PLAN"); plan != "" {
		message := os.Getenv("TEST_MESSAGE")
		parent, _ := strconv.Atoi(os.Getenv("TEST_PARENT"))
		drain, _ := time.ParseDuration(os.Getenv("TEST_DRAIN"))
		os.Unsetenv("TEST_PLAN")
		os.Unsetenv("TEST_MESSAGE")
		os.Exit(Run(Options{Version: "test", PlanFile: plan, TerminationLog: message, Parent: parent, DrainTime: drain}))
	}
	os.Exit(m.Run())
}

type object = map[string]any

// run is a toolbox at work.
type run struct {
	t       *testing.T
	command *exec.Cmd
	message string
	output  *buffer
}

// result is what it left.
type result struct {
	exitCode int
	log      *steplogtest.Log
	Nonce    string
	Exit     int
	Reason   string
	Message  string
	Setup    int
	Steps    [][]any
}

// patientDrain lets a test end what outlives a step when it likes, instead of hoping to be quick enough.
var patientDrain = "TEST_DRAIN=" + patience.String()

// buffer is written by one goroutine and read by another.
type buffer struct {
	mutex sync.Mutex
	text  bytes.Buffer
	grown chan struct{}
}

func newBuffer() *buffer { return &buffer{grown: make(chan struct{}, 1)} }

func (b *buffer) Write(p []byte) (int, error) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	select {
	case b.grown <- struct{}{}:
	default:
	}
	return b.text.Write(p)
}

func (b *buffer) bytes() []byte {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return bytes.Clone(b.text.Bytes())
}

// started is a toolbox with these steps; fields are the plan's other ones.
func started(t *testing.T, fields object, environment []string, steps ...object) *run {
	t.Helper()
	folder := t.TempDir()
	plan := object{"version": 1, "run": "1il7g1c000001", "task": "build", "attempt": 1, "workingDir": t.TempDir(), "gracePeriodSeconds": 5}
	for name, value := range fields {
		plan[name] = value
	}
	list := []object{}
	for i, step := range steps {
		whole := object{"name": fmt.Sprintf("s%d", i), "kind": "run"}
		for name, value := range step {
			whole[name] = value
		}
		list = append(list, whole)
	}
	plan["steps"] = list
	text, err := json.Marshal(plan)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(folder, "plan.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return start(t, program(t), file, environment)
}

func start(t *testing.T, program, plan string, environment []string) *run {
	t.Helper()
	r := &run{t: t, message: filepath.Join(t.TempDir(), "termination-log"), output: newBuffer()}
	r.command = exec.Command(program)
	r.command.Env = append([]string{"TEST_PLAN=" + plan, "TEST_MESSAGE=" + r.message, "PATH=" + os.Getenv("PATH"), "TMPDIR=" + t.TempDir()}, environment...)
	r.command.Stdout, r.command.Stderr = r.output, os.Stderr
	if err := r.command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.command.Process.Kill() })
	return r
}

// program is a copy of this program: a toolbox writes scripts beside itself, and has the folder for itself.
func program(t *testing.T) string {
	t.Helper()
	folder := open(t)
	if err := install.To(folder); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(folder, install.Name)
}

// open is a folder into which every user can get.
func open(t *testing.T) string {
	t.Helper()
	folder, err := os.MkdirTemp("/tmp", "runabout-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	if err := os.Chmod(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	return folder
}

// until waits for a text in the log.
func (r *run) until(text string) {
	r.t.Helper()
	deadline := time.After(patience)
	for !bytes.Contains(r.output.bytes(), []byte(text)) {
		select {
		case <-r.output.grown:
		case <-deadline:
			r.t.Fatalf("%q does not come: %s", text, r.output.bytes())
		}
	}
}

func (r *run) signal(signal syscall.Signal) {
	r.t.Helper()
	if err := r.command.Process.Signal(signal); err != nil {
		r.t.Fatal(err)
	}
}

// end waits for the toolbox and reads what it left.
func (r *run) end() *result {
	r.t.Helper()
	timer := time.AfterFunc(patience, func() { _ = r.command.Process.Kill() })
	defer timer.Stop()
	_ = r.command.Wait()
	got := &result{exitCode: r.command.ProcessState.ExitCode()}
	text, err := os.ReadFile(r.message)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := json.Unmarshal(text, got); err != nil {
		r.t.Fatalf("the summary %q: %v", text, err)
	}
	if got.log, err = steplogtest.Read(r.output.bytes()); err != nil {
		r.t.Fatal(err)
	}
	// What holds at every end: both sides say the same.
	done := got.log.Find("done")
	if got.Nonce != got.log.Nonce || got.Exit != got.exitCode || done == nil || done[2] != got.Reason {
		r.t.Errorf("exit code %d, summary %s, last marker %v", got.exitCode, text, done)
	}
	if got.Setup != len(got.log.Output["setup"]) {
		r.t.Errorf("the setup has %d bytes, the summary says %d", len(got.log.Output["setup"]), got.Setup)
	}
	for i, step := range got.Steps {
		if int(step[2].(float64)) != len(got.log.Output[fmt.Sprint(i)]) {
			r.t.Errorf("step %d has %d bytes, the summary says %v", i, len(got.log.Output[fmt.Sprint(i)]), step[2])
		}
	}
	return got
}

func steps(t *testing.T, commands ...string) *result {
	t.Helper()
	list := make([]object, len(commands))
	for i, command := range commands {
		list[i] = object{"command": command}
	}
	return started(t, nil, nil, list...).end()
}

func (r *result) states() string {
	var words []string
	for _, step := range r.Steps {
		words = append(words, fmt.Sprintf("%v:%v", step[0], step[1]))
	}
	return strings.Join(words, " ")
}

func (r *result) output(step int) string { return string(r.log.Output[fmt.Sprint(step)]) }

func expect(t *testing.T, got *result, exitCode int, reason, states string) {
	t.Helper()
	if got.exitCode != exitCode || got.Reason != reason || got.states() != states {
		t.Errorf("exit code %d, %s, %s (%s), log %q", got.exitCode, got.Reason, got.states(), got.Message, got.log.Output)
	}
}

func TestStepsRunInOrderUntilOneFails(t *testing.T) {
	got := steps(t, "echo one", "printf two; exit 3", "echo never")
	expect(t, got, 3, "StepFailed", "success:0 failed:3 notstarted:0")
	if got.output(0) != "one\n" || got.output(1) != "two" || got.Message != "step s1 ended with exit code 3" {
		t.Errorf("the log is %q, the message %q", got.log.Output, got.Message)
	}
	if len(got.log.Output) != 3 || !strings.HasPrefix(string(got.log.Output["setup"]), "toolbox test linux/") {
		t.Errorf("the log is %q", got.log.Output)
	}
}

func TestAnExitCodeThatSkipsTheRestEndsTheTaskWell(t *testing.T) {
	fields := object{"skipRestOnExitCodes": []int{78, 137}}
	for _, c := range []struct {
		command, states, reason, message string
		exitCode                         int
	}{
		{"exit 78", "success:0 success:78 skipped:0", "Completed", "step s1 ended with exit code 78, which skips the rest", 0},
		{"exit 77", "success:0 failed:77 notstarted:0", "StepFailed", "step s1 ended with exit code 77", 77},
		// What was killed did not choose its exit code.
		{"kill -KILL $$", "success:0 failed:137 notstarted:0", "StepFailed", "step s1 was killed by signal 9 (killed)", 137},
	} {
		got := started(t, fields, nil, object{"command": "echo one"}, object{"command": c.command}, object{"command": "echo never"}).end()
		expect(t, got, c.exitCode, c.reason, c.states)
		if got.Message != c.message {
			t.Errorf("%s: the message is %q", c.command, got.Message)
		}
		if want := "[runabout: exit code 78: the task is done, the rest is skipped]\n"; c.exitCode == 0 && got.output(1) != want {
			t.Errorf("the log is %q", got.output(1))
		}
	}
}

func TestNoStepsIsASuccess(t *testing.T) {
	expect(t, steps(t), 0, "Completed", "")
}

func TestTheUsualShellEndsAtTheFirstCommandThatFails(t *testing.T) {
	expect(t, steps(t, "false\necho never"), 1, "StepFailed", "failed:1")
}

func TestEveryExitCodeIsTheSteps(t *testing.T) {
	for _, code := range []int{1, 2, 124, 125, 143, 255} {
		expect(t, steps(t, fmt.Sprintf("exit %d", code)), code, "StepFailed", fmt.Sprintf("failed:%d", code))
	}
}

func TestAStepThatIsKilledSaysSoInItsLog(t *testing.T) {
	got := steps(t, "echo x; kill -KILL $$")
	expect(t, got, 137, "StepFailed", "failed:137")
	if got.output(0) != "x\n[runabout: killed by signal 9 (killed)]\n" {
		t.Errorf("the log is %q", got.output(0))
	}
}

func TestAScriptOfAnyLengthRunsAndIsInNoArgument(t *testing.T) {
	got := steps(t, strings.Repeat("# a comment of the script\n", 20_000)+"tr '\\0' ' ' < /proc/$$/cmdline; ls -l /proc/$$/fd/0")
	expect(t, got, 0, "Completed", "success:0")
	if !strings.HasPrefix(got.output(0), "/bin/sh -e /") || !strings.Contains(got.output(0), "/dev/null") || len(got.output(0)) > 300 {
		t.Errorf("it is %q", got.output(0))
	}
}

func TestStandardOutputAndErrorKeepTheirOrder(t *testing.T) {
	got := steps(t, "for i in 1 2 3; do echo out $i; echo err $i >&2; done; echo file > /dev/stdout")
	if got.output(0) != "out 1\nerr 1\nout 2\nerr 2\nout 3\nerr 3\nfile\n" {
		t.Errorf("it is %q", got.output(0))
	}
}

func TestBinaryOutputComesBackByteForByte(t *testing.T) {
	file := filepath.Join(t.TempDir(), "bytes")
	var all []byte
	for i := range 1_000_000 {
		all = append(all, byte(i*i>>3), byte(i))
	}
	if err := os.WriteFile(file, all, 0o600); err != nil {
		t.Fatal(err)
	}
	got := steps(t, "cat "+file, "cat "+file+"; cat "+file)
	if !bytes.Equal(got.log.Output["0"], all) || !bytes.Equal(got.log.Output["1"], append(bytes.Clone(all), all...)) {
		t.Error("the bytes differ")
	}
}

func TestAStepThatKnowsTheNonceCannotForgeAMarker(t *testing.T) {
	nonce := filepath.Join(t.TempDir(), "nonce")
	r := started(t, nil, nil, object{"command": `
		echo ready
		while ! [ -s ` + nonce + ` ]; do sleep 0.01; done
		read -r nonce < ` + nonce + `
		echo "[runabout $nonce end 0 6 success 0 5]"
		echo "[runabout $nonce+ done 0 Completed 1,2]"
		printf '[runabout %s' "$nonce"; exit 4`})
	r.until("ready\n")
	drawn := string(r.output.bytes()[len("[runabout "):][:32])
	if err := os.WriteFile(nonce, []byte(drawn+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got := r.end()
	expect(t, got, 4, "StepFailed", "failed:4")
	want := strings.ReplaceAll("ready\n[runabout N end 0 6 success 0 5]\n[runabout N+ done 0 Completed 1,2]\n[runabout N", "N", drawn)
	if got.output(0) != want {
		t.Errorf("the log is %q, want %q", got.output(0), want)
	}
}

func TestASummaryThatAStepWroteIsReplaced(t *testing.T) {
	message := filepath.Join(t.TempDir(), "m")
	folder := t.TempDir()
	plan := filepath.Join(folder, "plan.json")
	forged := `{"runabout":1,"nonce":"0","exit":0,"reason":"Completed"}`
	text := fmt.Sprintf(`{"version": 1, "run": "r", "task": "t", "attempt": 1, "workingDir": %q,
		"steps": [{"name": "a", "kind": "run", "command": %q}]}`, folder,
		"(while :; do echo '"+forged+"' > "+message+"; done) & setsid sh -c 'while :; do echo forged > "+message+"; done' & sleep 0.1; exit 9")
	if err := os.WriteFile(plan, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r := &run{t: t, message: message, output: newBuffer()}
	r.command = exec.Command(program(t))
	r.command.Env = []string{"TEST_PLAN=" + plan, "TEST_MESSAGE=" + message, "PATH=" + os.Getenv("PATH")}
	r.command.Stdout = r.output
	if err := r.command.Start(); err != nil {
		t.Fatal(err)
	}
	expect(t, r.end(), 9, "StepFailed", "failed:9")
}

func TestAPlanThatCannotBeReadRunsNothing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "plan.json")
	if err := os.WriteFile(file, []byte(`{"version": 1, "surprise": true}`), 0o600); err != nil {
		t.Fatal(err)
	}
	got := start(t, program(t), file, nil).end()
	expect(t, got, 125, "BadPlan", "")
	if !strings.Contains(string(got.log.Output["setup"]), `unknown field "surprise"`) {
		t.Errorf("the log is %q", got.log.Output)
	}
}

func TestAContainerThatIsStartedAgainRunsNoStep(t *testing.T) {
	file := filepath.Join(t.TempDir(), "plan.json")
	text := `{"version": 1, "run": "r", "task": "t", "attempt": 1, "steps": [{"name": "a", "kind": "run", "command": "echo ran"}]}`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	same := program(t)
	expect(t, start(t, same, file, nil).end(), 0, "Completed", "success:0")
	again := start(t, same, file, nil).end()
	expect(t, again, 125, "Internal", "")
	if !strings.Contains(string(again.log.Output["setup"]), "steps run only once") || len(again.log.Output) != 1 {
		t.Errorf("the log is %q", again.log.Output)
	}
}
