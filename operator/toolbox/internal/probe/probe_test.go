package probe

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"
)

// listening is a server on every address of this machine, since nobody knows which one is asked.
func listening(t *testing.T, withTLS bool) string {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/moved":
			http.Redirect(w, r, "/broken", http.StatusFound)
		case "/broken":
			w.WriteHeader(http.StatusServiceUnavailable)
		case "/slow":
			<-r.Context().Done()
		}
	}))
	all, err := net.Listen("tcp", ":0") //nolint:gosec // for the time of a test
	if err != nil {
		t.Fatal(err)
	}
	server.Listener.Close()
	server.Listener = all
	if withTLS {
		server.StartTLS()
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	_, port, _ := net.SplitHostPort(all.Addr().String())
	return port
}

func closed(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", ":0") //nolint:gosec // for a moment
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	return port
}

func TestAServiceIsReadyWhenAKubeletWouldSaySo(t *testing.T) {
	plain, secured, nobody := listening(t, false), listening(t, true), closed(t)
	for name, test := range map[string]struct {
		words string
		want  int
		said  string
	}{
		"a port":                  {"--timeout 10s tcp " + plain, 0, ""},
		"a port of nobody":        {"--timeout 10s tcp " + nobody, 1, "refused"},
		"an answer":               {"--timeout 10s http " + plain + " /", 0, ""},
		"a path without its mark": {"--timeout 10s http " + plain + " moved", 0, ""},
		"another address":         {"--timeout 10s http " + plain + " /moved", 0, ""},
		"a bad answer":            {"--timeout 10s http " + plain + " /broken", 1, "503"},
		"no answer":               {"--timeout 20ms http " + plain + " /slow", 1, "deadline"},
		"any certificate":         {"--timeout 10s https " + secured + " /", 0, ""},
		"no certificate":          {"--timeout 10s https " + plain + " /", 1, "HTTP"},
		"a command":               {"--timeout 10s exec true", 0, ""},
		"a command that fails":    {"--timeout 10s exec false", 1, "exit status 1"},
		"no such command":         {"--timeout 10s exec /does/not/exist", 1, "no such file"},
		"no time":                 {"tcp " + plain, 2, "--timeout"},
		"nothing to ask":          {"--timeout 1s", 2, "tcp PORT"},
		"something else":          {"--timeout 1s udp 1", 2, "tcp PORT"},
	} {
		t.Run(name, func(t *testing.T) {
			var stderr bytes.Buffer
			if got := Run(strings.Fields(test.words), &stderr); got != test.want || !strings.Contains(stderr.String(), test.said) {
				t.Errorf("exit code %d, %q", got, stderr.String())
			}
		})
	}
}

func TestACommandThatIsLateEndsWithAllThatItStarted(t *testing.T) {
	held, other, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	// The pipe ends when everybody who has it has ended.
	script := fmt.Sprintf("exec 9>/proc/%d/fd/%d; sleep 600 & sleep 600", os.Getpid(), other.Fd())
	var stderr bytes.Buffer
	if code := Run([]string{"--timeout", "200ms", "exec", "sh", "-c", script}, &stderr); code != 1 {
		t.Errorf("exit code %d, %q", code, stderr.String())
	}
	other.Close()
	if err := held.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := held.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("something goes on: %v", err)
	}
}
