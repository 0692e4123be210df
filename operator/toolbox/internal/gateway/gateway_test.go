package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"runabout.dev/toolbox/internal/gateway/gatewaytest"
)

// notes are what a client has said.
type notes struct {
	mutex sync.Mutex
	lines []string
}

func (n *notes) add(line string) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	n.lines = append(n.lines, line)
}

func client(t *testing.T, server *gatewaytest.Server) (*Client, *notes) {
	t.Helper()
	said := &notes{}
	c, err := New(Settings{URL: server.URL, TokenFile: server.TokenFile}, "1il7g1c000001", "build", 1, 0, said.add)
	if err != nil {
		t.Fatal(err)
	}
	c.firstPause, c.longestPause, c.patience = time.Millisecond, 2*time.Millisecond, 30*time.Second
	return c, said
}

func noise(size int) []byte {
	random := rand.NewChaCha8([32]byte{1})
	data := make([]byte, size)
	_, _ = random.Read(data)
	return data
}

func whole() (int64, int64, error) { return 3, 1000, nil }

func uploaded(t *testing.T, c *Client, data []byte) {
	t.Helper()
	stored, err := c.Upload(t.Context(), Workspace(2), bytes.NewReader(data), whole)
	if err != nil || stored.Size != int64(len(data)) {
		t.Fatalf("%+v, %v", stored, err)
	}
}

func downloaded(t *testing.T, c *Client) ([]byte, error) {
	t.Helper()
	list, err := c.Workspaces(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var target bytes.Buffer
	err = c.Download(t.Context(), list[0].Path(), list[0].Archive, &target)
	return target.Bytes(), err
}

func TestWhatIsUploadedComesBack(t *testing.T) {
	for name, test := range map[string]struct{ size, parts int }{
		"nothing": {0, 1}, "little": {10, 1}, "a part": {partSize, 1}, "a part and a byte": {partSize + 1, 2}, "many": {5*partSize - 7, 5},
	} {
		t.Run(name, func(t *testing.T) {
			server := gatewaytest.New(t)
			c, said := client(t, server)
			data := noise(test.size)
			uploaded(t, c, data)
			archive, _ := server.Workspace(2)
			if len(archive.Parts) != test.parts || archive.Files != 3 || archive.Bytes != 1000 {
				t.Errorf("stored %+v", archive)
			}
			if got, err := downloaded(t, c); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%d bytes came back of %d: %v", len(got), len(data), err)
			}
			if said.lines != nil {
				t.Errorf("it said %q", said.lines)
			}
		})
	}
}

// hijacked ends the connection without an answer.
func hijacked(w http.ResponseWriter) bool {
	connection, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		connection.Close()
	}
	return true
}

// faults are what can go wrong once for each request, and be gone afterwards.
var faults = map[string]gatewaytest.Fault{
	"an internal error": func(w http.ResponseWriter, _ *http.Request, _ int) bool {
		gatewaytest.Refuse(w, http.StatusInternalServerError, "Internal", "internal server error")
		return true
	},
	"too much to do": func(w http.ResponseWriter, _ *http.Request, _ int) bool {
		w.Header().Set("Retry-After", "0")
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	},
	"a proxy's page": func(w http.ResponseWriter, _ *http.Request, _ int) bool {
		http.Error(w, "<html>bad gateway", http.StatusBadGateway)
		return true
	},
	"no answer": func(w http.ResponseWriter, _ *http.Request, _ int) bool { return hijacked(w) },
	"half an answer": func(w http.ResponseWriter, _ *http.Request, _ int) bool {
		w.Header().Set("Content-Length", "1000")
		w.WriteHeader(http.StatusOK)
		_, _ = w.Write([]byte(`{"archives": [`))
		return true
	},
	"a request that is not read to its end": func(w http.ResponseWriter, r *http.Request, _ int) bool {
		_, _ = io.CopyN(io.Discard, r.Body, 10)
		return hijacked(w)
	},
}

func once(fault gatewaytest.Fault) gatewaytest.Fault {
	return func(w http.ResponseWriter, r *http.Request, number int) bool {
		return number == 1 && fault(w, r, number)
	}
}

func TestWhatFailsForAWhileIsRepeated(t *testing.T) {
	data := noise(2*partSize + 100)
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			server := gatewaytest.New(t)
			server.Fault, server.Storage = once(fault), once(fault)
			c, said := client(t, server)
			uploaded(t, c, data)
			if got, err := downloaded(t, c); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%d bytes came back of %d: %v", len(got), len(data), err)
			}
			if len(said.lines) < 2 || !strings.HasPrefix(said.lines[0], "waiting for the object storage: ") ||
				!strings.HasPrefix(said.lines[len(said.lines)-1], "the object storage answers again") {
				t.Errorf("it said %q", said.lines)
			}
		})
	}
}

func TestAPartWhoseAnswerIsLostIsNotSentTwice(t *testing.T) {
	server := gatewaytest.New(t)
	sent := 0
	server.Storage = func(w http.ResponseWriter, r *http.Request, _ int) bool {
		if r.Method == http.MethodPut {
			sent++
		}
		return false
	}
	c, _ := client(t, server)
	lost := true
	c.http.Transport = roundTrip(func(request *http.Request) (*http.Response, error) {
		answer, err := http.DefaultTransport.RoundTrip(request)
		if request.Method == http.MethodPut && lost {
			lost = false
			answer.Body.Close()
			return nil, errors.New("connection reset by peer")
		}
		return answer, err
	})
	uploaded(t, c, noise(100))
	if sent != 1 {
		t.Errorf("the part was sent %d times", sent)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (r roundTrip) RoundTrip(request *http.Request) (*http.Response, error) { return r(request) }

func TestAddressesThatExpiredAreAskedForAgain(t *testing.T) {
	data := noise(3 * 100)
	server := gatewaytest.New(t)
	server.AddWorkspace("parent", 0, data, 100)
	server.Storage = func(_ http.ResponseWriter, r *http.Request, _ int) bool {
		if strings.HasPrefix(r.URL.Path, "/1/") {
			server.ExpireAddresses()
		}
		return false
	}
	c, _ := client(t, server)
	if got, err := downloaded(t, c); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes came back: %v", len(got), err)
	}
}

func TestABrokenPartIsAskedForAgain(t *testing.T) {
	for name, fault := range map[string]gatewaytest.Fault{
		"half": func(w http.ResponseWriter, _ *http.Request, _ int) bool {
			_, _ = w.Write(make([]byte, 50))
			return true
		},
		"changed": func(w http.ResponseWriter, _ *http.Request, _ int) bool {
			_, _ = w.Write(make([]byte, 100))
			return true
		},
		"longer": func(w http.ResponseWriter, _ *http.Request, _ int) bool {
			_, _ = w.Write(make([]byte, 200))
			return true
		},
	} {
		t.Run(name, func(t *testing.T) {
			data := noise(250)
			server := gatewaytest.New(t)
			server.AddWorkspace("parent", 0, data, 100)
			broken := 0
			server.Storage = func(w http.ResponseWriter, r *http.Request, number int) bool {
				broken++
				return broken%2 == 1 && fault(w, r, number)
			}
			c, _ := client(t, server)
			if got, err := downloaded(t, c); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%d bytes came back: %v", len(got), err)
			}
		})
	}
}

func TestWhatIsDamagedInTheStorageIsNotGivenOut(t *testing.T) {
	server := gatewaytest.New(t)
	server.AddWorkspace("parent", 0, noise(250), 100)
	server.Spoil()
	c, _ := client(t, server)
	got, err := downloaded(t, c)
	if len(got) != 0 || err == nil || !strings.Contains(err.Error(), "part 0 of 3: it is damaged") {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestArchivesOfManyPartsAreListedPieceByPiece(t *testing.T) {
	data := noise(150)
	server := gatewaytest.New(t)
	server.AddWorkspace("parent", 7, data, 1)
	c, _ := client(t, server)
	if got, err := downloaded(t, c); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes came back: %v", len(got), err)
	}
	lists := slices.DeleteFunc(server.Requests(), func(line string) bool { return line != "GET workspace/parent/7" })
	if len(lists) != 3 {
		t.Errorf("asked %d times", len(lists))
	}
}

func TestAnEndedStepEndsItsDownload(t *testing.T) {
	server := gatewaytest.New(t)
	server.AddWorkspace("parent", 0, noise(1000), 100)
	c, _ := client(t, server)
	ctx, cancel := context.WithCancel(t.Context())
	list, err := c.Workspaces(ctx)
	if err != nil {
		t.Fatal(err)
	}
	server.Storage = func(w http.ResponseWriter, _ *http.Request, _ int) bool { cancel(); return hijacked(w) }
	if err := c.Download(ctx, list[0].Path(), list[0].Archive, io.Discard); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestARefusalIsSaidAtOnce(t *testing.T) {
	for _, status := range []int{http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound, http.StatusConflict} {
		server := gatewaytest.New(t)
		server.Fault = func(w http.ResponseWriter, _ *http.Request, _ int) bool {
			gatewaytest.Refuse(w, status, "Because", "the task does not run any more")
			return true
		}
		c, _ := client(t, server)
		_, err := c.Upload(t.Context(), Workspace(0), bytes.NewReader(nil), whole)
		var refusal *Refusal
		if !errors.As(err, &refusal) || refusal.Status != status || refusal.Code != "Because" ||
			err.Error() != "part 0: the task does not run any more" || len(server.Requests()) != 1 {
			t.Errorf("%d: %v after %v", status, err, server.Requests())
		}
	}
}

func TestPatienceHasAnEnd(t *testing.T) {
	server := gatewaytest.New(t)
	server.Fault = faults["an internal error"]
	c, _ := client(t, server)
	c.patience = 20 * time.Millisecond
	_, err := c.Workspaces(t.Context())
	var gone *Unavailable
	if !errors.As(err, &gone) || !strings.Contains(err.Error(), "could not be used for 20ms: internal server error") {
		t.Errorf("got %v", err)
	}
}

func TestRetryAfterIsObeyed(t *testing.T) {
	server := gatewaytest.New(t)
	server.Fault = func(w http.ResponseWriter, _ *http.Request, _ int) bool {
		w.Header().Set("Retry-After", "3600")
		gatewaytest.Refuse(w, http.StatusTooManyRequests, "Busy", "too many")
		return true
	}
	c, _ := client(t, server)
	c.longestPause, c.patience = time.Hour, time.Minute // shorter than what the gateway asks for
	if _, err := c.Workspaces(t.Context()); err == nil || len(server.Requests()) != 1 {
		t.Errorf("%v after %v", err, server.Requests())
	}
}

func TestATokenIsReadAgainForEachRequest(t *testing.T) {
	server := gatewaytest.New(t)
	c, _ := client(t, server)
	if err := os.WriteFile(server.TokenFile, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	server.Fault = func(_ http.ResponseWriter, _ *http.Request, number int) bool {
		if number == 2 {
			_ = os.WriteFile(server.TokenFile, []byte(gatewaytest.Token), 0o600)
		}
		return false
	}
	if _, err := c.Workspaces(t.Context()); err != nil {
		t.Error(err)
	}
	os.Remove(server.TokenFile)
	if _, err := c.Workspaces(t.Context()); err == nil || !strings.Contains(err.Error(), "the task's token cannot be read") {
		t.Errorf("got %v", err)
	}
}

func TestATokenThatStaysWrongIsAnError(t *testing.T) {
	server := gatewaytest.New(t)
	c, _ := client(t, server)
	if err := os.WriteFile(server.TokenFile, []byte("another's"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Workspaces(t.Context()); err == nil || len(server.Requests()) != 3 {
		t.Errorf("%v after %v", err, server.Requests())
	}
}

func TestTheEndOfAStepEndsItsWaiting(t *testing.T) {
	server := gatewaytest.New(t)
	server.Fault = faults["an internal error"]
	c, said := client(t, server)
	c.firstPause, c.longestPause = time.Hour, time.Hour
	c.patience = 10 * time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	c.state.notice = func(line string) { said.add(line); cancel() }
	if _, err := c.Upload(ctx, Workspace(0), bytes.NewReader(noise(10)), whole); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestWhatIsNotWholeIsNotStored(t *testing.T) {
	server := gatewaytest.New(t)
	c, _ := client(t, server)
	failure := errors.New("a file became shorter")
	_, err := c.Upload(t.Context(), Workspace(0), bytes.NewReader(noise(10)), func() (int64, int64, error) { return 0, 0, failure })
	if _, stored := server.Workspace(0); stored || !errors.Is(err, failure) {
		t.Errorf("got %v", err)
	}
	_, err = c.Upload(t.Context(), Workspace(0), io.MultiReader(bytes.NewReader(noise(10)), errorReader{failure}), whole)
	if _, stored := server.Workspace(0); stored || !errors.Is(err, failure) {
		t.Errorf("got %v", err)
	}
}

type errorReader struct{ err error }

func (e errorReader) Read([]byte) (int, error) { return 0, e.err }

func TestAReaderThatGoesAwayEndsTheDownload(t *testing.T) {
	server := gatewaytest.New(t)
	server.AddWorkspace("parent", 0, noise(500), 100)
	c, _ := client(t, server)
	list, err := c.Workspaces(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	read, write := io.Pipe()
	read.Close()
	if err := c.Download(t.Context(), list[0].Path(), list[0].Archive, write); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("got %v", err)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	server := gatewaytest.New(t)
	// The storage takes nothing for itself: only what the client holds counts.
	server.Storage = func(w http.ResponseWriter, r *http.Request, _ int) bool {
		_, _ = io.Copy(io.Discard, r.Body)
		return true
	}
	c, _ := client(t, server)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, _ = c.Upload(t.Context(), Workspace(0), io.LimitReader(rand.NewChaCha8([32]byte{}), 20*partSize), whole)
	runtime.ReadMemStats(&after)
	sent := slices.DeleteFunc(server.Requests(), func(line string) bool { return line != "POST parts" })
	if got := after.TotalAlloc - before.TotalAlloc; got > 6*partSize || len(sent) != 20 {
		t.Errorf("%d bytes were taken for %d parts", got, len(sent))
	}
}

func TestCachesAreFoundByPrefixAndKept(t *testing.T) {
	server := gatewaytest.New(t)
	server.AddCache("go-1-old", noise(10), 5)
	server.AddCache("go-1-new", noise(20), 5)
	c, _ := client(t, server)
	found, err := c.FindCache(t.Context(), []string{"rust-", "go-1-"})
	if err != nil || found.Key != "go-1-new" || found.Size != 20 || found.Parts != 4 || found.Created.Year() != 2026 {
		t.Errorf("%+v, %v", found, err)
	}
	var target bytes.Buffer
	if err := c.Download(t.Context(), found.Path(), found.Archive, &target); err != nil || !bytes.Equal(target.Bytes(), noise(20)) {
		t.Errorf("%d bytes, %v", target.Len(), err)
	}
	if none, err := c.FindCache(t.Context(), []string{"rust-"}); err != nil || none.Key != "" {
		t.Errorf("%+v, %v", none, err)
	}
	if has, err := c.HasCache(t.Context(), "go-1-old"); err != nil || !has {
		t.Errorf("%v, %v", has, err)
	}
	stored, err := c.Upload(t.Context(), Cache("go-1-old"), bytes.NewReader(noise(3)), whole)
	if err != nil || !stored.Existing {
		t.Errorf("%+v, %v", stored, err)
	}
}

func TestResultsAreHandedOn(t *testing.T) {
	c, _ := client(t, gatewaytest.New(t))
	if err := c.PutResults(t.Context(), map[string]string{"VERSION": "1.2"}); err != nil {
		t.Fatal(err)
	}
	tasks := make([]string, 130) // more than go into one answer
	for i := range tasks {
		tasks[i] = fmt.Sprintf("task-%d", i)
	}
	if got, err := c.Results(t.Context(), append(tasks, "parent")); err != nil || got["parent"]["VERSION"] != "1.2" {
		t.Errorf("%v, %v", got, err)
	}
}
