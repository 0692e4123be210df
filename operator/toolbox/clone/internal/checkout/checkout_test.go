package checkout

import (
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"runabout.dev/toolbox/clone/internal/remote"
)

func TestEveryKindOfRefIsCheckedOut(t *testing.T) {
	root := t.TempDir()
	source := repository(t, root, "web.git")
	first := gitIn(t, source, "rev-parse", "HEAD")
	gitIn(t, source, "tag", "v1")
	gitIn(t, source, "branch", "release/1")
	if err := os.Symlink("README", filepath.Join(source, "link")); err != nil {
		t.Fatal(err)
	}
	script := filepath.Join(source, "run.sh")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	second := commitFile(t, source, "größe", "zwei\n")
	gitIn(t, source, "tag", "-a", "-m", "annotated", "v2")
	third := commitFile(t, source, "README", "third\n")
	gitIn(t, source, "update-ref", "refs/pull/7/head", second)
	gitIn(t, source, "branch", "v1-and-more", first)
	url := started(t, httptest.NewTLSServer(overHTTP(t, root))) + "/web.git"

	for ref, want := range map[string]struct{ commit, branch string }{
		"":                      {third, "main"},
		"HEAD":                  {third, "main"},
		"main":                  {third, "main"},
		"refs/heads/main":       {third, "main"},
		"release/1":             {first, "release/1"},
		"v1":                    {first, ""},
		"v2":                    {second, ""},
		"refs/tags/v2":          {second, ""},
		"refs/pull/7/head":      {second, ""},
		third:                   {third, ""}, // at the end of a branch
		second:                  {second, ""},
		strings.ToUpper(second): {second, ""},
	} {
		for _, depth := range []int{0, 1} {
			t.Run(fmt.Sprintf("%s depth %d", ref, depth), func(t *testing.T) {
				got := cloned(t, Request{URL: url, Ref: ref, Depth: depth})
				got.sound(t, want.commit)
				if name := gitIn(t, got.folder, "branch", "--show-current"); name != want.branch {
					t.Errorf("the branch is %q, want %q", name, want.branch)
				}
				if shallow := gitIn(t, got.folder, "rev-parse", "--is-shallow-repository"); depth == 0 && shallow == "true" {
					t.Error("the history is not whole")
				}
				if count := gitIn(t, got.folder, "rev-list", "--count", "HEAD"); depth == 1 && ref != second && ref != strings.ToUpper(second) && count != "1" {
					t.Errorf("%s commits, want 1", count)
				}
				if want.commit == third {
					if info, err := os.Stat(filepath.Join(got.folder, "run.sh")); err != nil || info.Mode()&0o111 == 0 {
						t.Errorf("run.sh cannot be executed (%v)", err)
					}
					if target, err := os.Readlink(filepath.Join(got.folder, "link")); err != nil || target != "README" {
						t.Errorf("link leads to %q (%v)", target, err)
					}
				}
			})
		}
	}
}

// Many servers give commits by their ids, some only names; with depth that saves the history.
func TestACommitIsAskedForByItsIdWhereTheServerAllows(t *testing.T) {
	root := t.TempDir()
	source := repository(t, root, "web.git")
	second := commitFile(t, source, "README", "second\n")
	commitFile(t, source, "README", "third\n")
	gitIn(t, source, "config", "uploadpack.allowReachableSHA1InWant", "true")
	url := started(t, httptest.NewServer(overHTTP(t, root))) + "/web.git"

	got := cloned(t, Request{URL: url, Ref: second, Depth: 1})
	got.sound(t, second)
	if count := gitIn(t, got.folder, "rev-list", "--count", "HEAD"); count != "1" {
		t.Errorf("%s commits, want 1", count)
	}
	missing := cloned(t, Request{URL: url, Ref: strings.Repeat("1234567890", 4)})
	if missing.err == nil || !strings.Contains(missing.err.Error(), "no such commit") {
		t.Errorf("got %v", missing.err)
	}
}

func TestCredentialsLogInAndAreLeftNowhere(t *testing.T) {
	root := t.TempDir()
	source := repository(t, root, "web.git")
	server := &guarded{Handler: overHTTP(t, root)}
	url := started(t, httptest.NewTLSServer(server)) + "/web.git"

	got := cloned(t, Request{URL: url, Credentials: remote.Credentials{Username: "anna", Password: "s3cret-password"}})
	got.sound(t, gitIn(t, source, "rev-parse", "HEAD"))
	if strings.Contains(got.output, "s3cret") || strings.Contains(got.output, "anna") {
		t.Errorf("they are in the output: %s", got.output)
	}
	err := filepath.WalkDir(got.folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if strings.Contains(string(text), "s3cret") || strings.Contains(string(text), "anna") {
			t.Errorf("they are in %s", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestSubmodulesOfAllLevelsCome(t *testing.T) {
	root := t.TempDir()
	elsewhere := t.TempDir()
	leaf := repository(t, elsewhere, "leaf.git")
	leafURL := started(t, httptest.NewTLSServer(overHTTP(t, elsewhere))) + "/leaf.git"
	middle := repository(t, root, "libs/middle.git")
	gitIn(t, middle, "submodule", "add", "-q", "--name", "deep/leaf", leaf, "vendor/leaf")
	gitIn(t, middle, "config", "-f", ".gitmodules", "submodule.deep/leaf.url", leafURL)
	commitFile(t, middle, "other", "x\n")
	// Not at the end of a branch any more when it is fetched.
	middleCommit := gitIn(t, middle, "rev-parse", "HEAD")
	top := repository(t, root, "apps/top.git")
	gitIn(t, top, "submodule", "add", "-q", middle, "libs/middle")
	gitIn(t, top, "config", "-f", ".gitmodules", "submodule.libs/middle.url", "../../libs/middle.git")
	commitFile(t, top, "other", "x\n")
	commitFile(t, middle, "other", "y\n")
	server := &guarded{Handler: overHTTP(t, root)}
	url := started(t, httptest.NewTLSServer(server)) + "/apps/top.git"
	request := Request{URL: url, Submodules: true, Credentials: remote.Credentials{Username: "anna", Password: "s3cret-password"}}

	got := cloned(t, request)
	got.sound(t, gitIn(t, top, "rev-parse", "HEAD"))
	if commit := gitIn(t, filepath.Join(got.folder, "libs/middle"), "rev-parse", "HEAD"); commit != middleCommit {
		t.Errorf("libs/middle is at %s, want %s", commit, middleCommit)
	}
	if text, err := os.ReadFile(filepath.Join(got.folder, "libs/middle/vendor/leaf/README")); err != nil || string(text) != "first\n" {
		t.Errorf("libs/middle/vendor/leaf/README is %q (%v)", text, err)
	}
	if status := gitIn(t, got.folder, "submodule", "status", "--recursive"); strings.ContainsAny(status[:1], "+-U") {
		t.Errorf("git sees %s", status)
	}
	request.Submodules = false
	without := cloned(t, request)
	without.sound(t, gitIn(t, top, "rev-parse", "HEAD"))
	if _, err := os.Stat(filepath.Join(without.folder, "libs/middle/README")); err == nil {
		t.Error("they come unasked")
	}
}

// The other host is one that lets nobody in, and remembers what it was told.
func TestAnotherHostNeverHearsTheCredentials(t *testing.T) {
	root := t.TempDir()
	other := &guarded{}
	otherURL := started(t, httptest.NewTLSServer(other))
	top := repository(t, root, "top.git")
	leaf := repository(t, t.TempDir(), "leaf.git")
	gitIn(t, top, "submodule", "add", "-q", leaf, "leaf")
	gitIn(t, top, "config", "-f", ".gitmodules", "submodule.leaf.url", otherURL+"/leaf.git")
	commitFile(t, top, "other", "x\n")
	server := &guarded{Handler: overHTTP(t, root)}
	moved := http.RedirectHandler(otherURL+"/moved.git/info/refs?service=git-upload-pack", http.StatusFound)
	url := started(t, httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/moved.git") {
			moved.ServeHTTP(w, r)
			return
		}
		server.ServeHTTP(w, r)
	})))
	credentials := remote.Credentials{Username: "anna", Password: "s3cret-password"}

	for name, request := range map[string]Request{
		"of a submodule": {URL: url + "/top.git", Submodules: true},
		"by a redirect":  {URL: url + "/moved.git"},
	} {
		t.Run(name, func(t *testing.T) {
			request.Credentials = credentials
			got := cloned(t, request)
			if got.err == nil || !strings.Contains(got.err.Error(), otherURL) && name == "of a submodule" {
				t.Errorf("got %v", got.err)
			}
			other.mutex.Lock()
			defer other.mutex.Unlock()
			if len(other.tried) > 0 {
				t.Errorf("it heard %q", other.tried)
			}
		})
	}
}

func TestWhatTheNetworkSpoilsIsTriedThreeTimes(t *testing.T) {
	root := t.TempDir()
	source := repository(t, root, "web.git")
	commit := commitFile(t, source, "large", strings.Repeat("text\n", 1000))
	whole := overHTTP(t, root)
	// Each failure comes at another place: the list of names, or the middle of the files.
	for name, spoil := range map[string]func(http.ResponseWriter, *http.Request) bool{
		"busy": func(w http.ResponseWriter, _ *http.Request) bool {
			http.Error(w, "later", http.StatusServiceUnavailable)
			return true
		},
		"cut": func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodPost {
				return false
			}
			recorder := httptest.NewRecorder()
			whole.ServeHTTP(recorder, r)
			body := recorder.Body.Bytes()
			w.Header().Set("Content-Type", recorder.Header().Get("Content-Type"))
			_, _ = w.Write(body[:len(body)/2])
			panic(http.ErrAbortHandler)
		},
	} {
		for failures, works := range map[int32]bool{2: true, 3: false} {
			t.Run(fmt.Sprintf("%s %d times", name, failures), func(t *testing.T) {
				var left atomic.Int32
				left.Store(failures)
				url := started(t, httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if left.Load() > 0 && (name == "busy" || r.Method == http.MethodPost) {
						left.Add(-1)
						if spoil(w, r) {
							return
						}
					}
					whole.ServeHTTP(w, r)
				})))
				got := cloned(t, Request{URL: url + "/web.git"})
				if got.pauses != 2 || !strings.Contains(got.output, "trying again") || !strings.Contains(got.output, "attempt 3 of 3") {
					t.Errorf("%d pauses, output %s", got.pauses, got.output)
				}
				if works {
					got.sound(t, commit)
					return
				}
				if got.err == nil {
					t.Fatal("it worked")
				}
				if names, err := content(got.folder); err != nil || len(names) > 0 {
					t.Errorf("%v is left (%v)", names, err)
				}
			})
		}
	}
}
