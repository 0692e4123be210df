// Package gatewaytest is a gateway in memory, with the faults that tests ask for.
package gatewaytest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// Token is what a task has to show.
const Token = "token-of-the-task"

// Base is the path of the attempt that the gateway knows.
const Base = "/task/v1/1il7g1c000001/build/1/"

// Fault answers a request in place of the server, if it wants to. Number counts the requests with
// this method and this last element of the path.
type Fault func(w http.ResponseWriter, r *http.Request, number int) (handled bool)

// Part is one of an archive.
type Part struct {
	Size   int    `json:"size"`
	SHA256 string `json:"sha256"`
}

// Archive is one that was stored.
type Archive struct {
	Key   string
	Parts []Part
	Files int64
	Bytes int64
}

// Server is a gateway, and a storage with addresses of its own.
type Server struct {
	URL       string
	TokenFile string
	Fault     Fault // of the gateway
	Storage   Fault // of the storage

	mutex      sync.Mutex
	objects    map[string][]byte
	counts     map[string]int
	workspaces map[string]Archive // by task and step
	order      []string
	caches     []Archive // the newest last
	requests   []string
	expired    int // addresses that are not good any more
	issued     int
	results    map[string]string
	logs       map[place]string // sums, by where the parts belong
}

// New starts a gateway that ends with the test.
func New(t testing.TB) *Server {
	t.Helper()
	s := &Server{
		TokenFile: filepath.Join(t.TempDir(), "token"), objects: map[string][]byte{}, counts: map[string]int{},
		workspaces: map[string]Archive{}, results: map[string]string{}, logs: map[place]string{},
	}
	if err := os.WriteFile(s.TokenFile, []byte(Token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	storage := httptest.NewServer(http.HandlerFunc(s.storage))
	t.Cleanup(storage.Close)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, storage.URL) }))
	t.Cleanup(server.Close)
	s.URL = server.URL
	return s
}

// ExpireAddresses makes every address that was given out so far useless.
func (s *Server) ExpireAddresses() {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.expired = s.issued
}

// Spoil changes a byte of every stored part.
func (s *Server) Spoil() {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for _, data := range s.objects {
		data[len(data)/2] ^= 1
	}
}

// Requests are all that came to the gateway: method and path after the attempt's.
func (s *Server) Requests() []string {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return append([]string(nil), s.requests...)
}

// Workspace is what a step has stored.
func (s *Server) Workspace(step int) (Archive, bool) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	found, ok := s.workspaces[fmt.Sprintf("build/%d", step)]
	return found, ok
}

// Caches are all entries, the newest last.
func (s *Server) Caches() []Archive {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return append([]Archive(nil), s.caches...)
}

// Log is what was kept of a step's output (-1: the setup), up to the first byte that was not.
func (s *Server) Log(step int) []byte {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	var text []byte
	for {
		data := s.objects[s.logs[place{step, len(text)}]]
		if len(data) == 0 {
			return text
		}
		text = append(text, data...)
	}
}

// Results are what the task has handed on.
func (s *Server) Results() map[string]string {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.results
}

// SetResults sets what the task, or another one, has handed on.
func (s *Server) SetResults(results map[string]string) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.results = results
}

// AddWorkspace stores what another task's step saved, after those that are there.
func (s *Server) AddWorkspace(task string, step int, packed []byte, partSize int) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.keep(fmt.Sprintf("%s/%d", task, step), s.cut(packed, partSize))
}

// AddCache stores an entry, the newest.
func (s *Server) AddCache(key string, packed []byte, partSize int) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	archive := s.cut(packed, partSize)
	archive.Key = key
	s.caches = append(s.caches, archive)
}

func (s *Server) cut(packed []byte, partSize int) Archive {
	var archive Archive
	for len(packed) > 0 {
		data := packed[:min(partSize, len(packed))]
		packed = packed[len(data):]
		sum := sha256.Sum256(data)
		one := Part{len(data), hex.EncodeToString(sum[:])}
		s.objects[one.SHA256] = append([]byte(nil), data...)
		archive.Parts = append(archive.Parts, one)
	}
	return archive
}

func (s *Server) keep(name string, archive Archive) {
	if _, known := s.workspaces[name]; !known {
		s.order = append(s.order, name)
	}
	s.workspaces[name] = archive
}

// count takes note of a request and asks for a fault.
func (s *Server) count(w http.ResponseWriter, r *http.Request, fault Fault) bool {
	s.mutex.Lock()
	name := r.Method + " " + path.Base(r.URL.Path) // the addresses of a part differ in the rest
	s.counts[name]++
	number := s.counts[name]
	s.mutex.Unlock()
	return fault != nil && fault(w, r, number)
}

// storage takes and gives parts at addresses of the form /NUMBER/SHA256.
func (s *Server) storage(w http.ResponseWriter, r *http.Request) {
	if s.count(w, r, s.Storage) {
		return
	}
	fields := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	number, _ := strconv.Atoi(fields[0])
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client has gone
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	switch {
	case r.Header.Get("Authorization") != "":
		http.Error(w, "<Error><Message>a token where it should not be</Message></Error>", http.StatusBadRequest)
	case number <= s.expired:
		http.Error(w, "<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>", http.StatusForbidden)
	case r.Method == http.MethodPut && r.Header.Get("X-Signed") != "yes":
		http.Error(w, "<Error><Message>a header is missing</Message></Error>", http.StatusForbidden)
	case r.Method == http.MethodPut:
		s.objects[fields[1]] = data
	case r.Method == http.MethodGet && s.objects[fields[1]] != nil:
		_, _ = w.Write(s.objects[fields[1]])
	default:
		http.Error(w, "<Error><Code>NoSuchKey</Code></Error>", http.StatusNotFound)
	}
}

func (s *Server) address(storage, sum, method string) map[string]any {
	s.issued++
	return map[string]any{
		"url": fmt.Sprintf("%s/%d/%s", storage, s.issued, sum), "method": method, "headers": map[string]string{"X-Signed": "yes"},
	}
}

// Refuse answers with an error of the gateway.
func Refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"code": code, "message": message})
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request, storage string) {
	name, found := strings.CutPrefix(r.URL.Path, Base)
	s.mutex.Lock()
	s.requests = append(s.requests, r.Method+" "+name)
	s.mutex.Unlock()
	if s.count(w, r, s.Fault) {
		return
	}
	if r.Header.Get("Authorization") != "Bearer "+Token {
		Refuse(w, http.StatusUnauthorized, "Unauthorized", "the token is not that of a task")
		return
	}
	if !found {
		Refuse(w, http.StatusForbidden, "Forbidden", "the token is another task's")
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	status, answer := s.answer(r, name, body, storage)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if answer != nil {
		_ = json.NewEncoder(w).Encode(answer)
	}
}
