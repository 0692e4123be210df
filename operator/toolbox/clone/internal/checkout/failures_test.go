package checkout

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/skeema/knownhosts"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"

	"runabout.dev/toolbox/clone/internal/remote"
)

// untrusted is a server whose certificate nobody knows.
func untrusted(t *testing.T) string {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{certificate}, PrivateKey: private}}}
	server.StartTLS()
	return started(t, server)
}

// closed is an address at which nobody listens, and that nobody else gets while the test runs.
func closed(t *testing.T) string {
	t.Helper()
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(socket) })
	if err := syscall.Bind(socket, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	address, err := syscall.Getsockname(socket)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", address.(*syscall.SockaddrInet4).Port)
}

func TestEveryFailureIsSaidInPlainWords(t *testing.T) {
	root := t.TempDir()
	source := repository(t, root, "web.git")
	first := gitIn(t, source, "rev-parse", "HEAD")
	gitIn(t, source, "branch", "develop")
	if err := os.MkdirAll(filepath.Join(root, "empty.git"), 0o755); err != nil {
		t.Fatal(err)
	}
	gitIn(t, filepath.Join(root, "empty.git"), "init", "-q")
	open := started(t, httptest.NewTLSServer(overHTTP(t, root)))
	guard := started(t, httptest.NewTLSServer(&guarded{Handler: overHTTP(t, root)}))
	refusing := started(t, httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "no", http.StatusForbidden)
	})))
	password := remote.Credentials{Username: "anna", Password: "s3cret-wrong"}

	for name, test := range map[string]struct {
		request Request
		want    string
		pauses  int
	}{
		"no such ref":           {Request{URL: open + "/web.git", Ref: "nosuch"}, `there is no branch, tag or commit "nosuch"; there are the branches develop, main`, 0},
		"an abbreviated commit": {Request{URL: open + "/web.git", Ref: first[:10]}, "write all 40 characters", 0},
		"no such commit":        {Request{URL: open + "/web.git", Ref: strings.Repeat("ab", 20)}, "is no commit that the server has", 0},
		"no such repository":    {Request{URL: open + "/nosuch.git"}, "there is no such repository", 0},
		"an empty repository":   {Request{URL: open + "/empty.git"}, "the repository is empty", 0},
		"no credentials":        {Request{URL: guard + "/web.git"}, "name a Secret of type kubernetes.io/basic-auth", 0},
		"wrong credentials":     {Request{URL: guard + "/web.git", Credentials: password}, "authentication failed", 0},
		"refused":               {Request{URL: refusing + "/web.git"}, "access refused without credentials", 0},
		"an unknown authority":  {Request{URL: untrusted(t) + "/web.git"}, "certificate is not trusted", 0},
		"nobody listens":        {Request{URL: "https://" + closed(t) + "/web.git"}, "connection refused", 2},
		"an unknown host":       {Request{URL: "https://nosuch.invalid/web.git"}, "the host nosuch.invalid cannot be found", 2},
		"a password in the URL": {Request{URL: "https://anna:s3cret@example.org/web.git"}, `"https://example.org/web.git" has a password in it`, 0},
		"a password over http":  {Request{URL: "http://127.0.0.1:1/web.git", Credentials: password}, "unencrypted; use https", 0},
		"a local repository":    {Request{URL: source}, "repositories come over https or ssh", 0},
		"a file":                {Request{URL: "file://" + source}, "repositories come over https or ssh", 0},
		"git's own protocol":    {Request{URL: "git://example.org/web.git"}, "repositories come over https or ssh", 0},
		"a relative folder":     {Request{URL: open + "/web.git", Folder: "here"}, `the folder "here" is not absolute`, 0},
	} {
		t.Run(name, func(t *testing.T) {
			got := cloned(t, test.request)
			if got.err == nil || !strings.Contains(got.err.Error(), test.want) || got.pauses != test.pauses {
				t.Errorf("got %v after %d pauses, want %q", got.err, got.pauses, test.want)
			}
			if got.err != nil && strings.Contains(got.err.Error()+got.output, "s3cret") {
				t.Errorf("the password is shown: %v, %s", got.err, got.output)
			}
			if names, err := content(got.folder); err == nil && len(names) > 0 {
				t.Errorf("%v is left", names)
			}
		})
	}
}

func TestAFolderThatIsNotEmptyIsLeftAlone(t *testing.T) {
	root := t.TempDir()
	source := repository(t, root, "web.git")
	url := started(t, httptest.NewServer(overHTTP(t, root))) + "/web.git"
	folder := t.TempDir()
	for _, name := range []string{"a", "b", "c", "d"} {
		if err := os.WriteFile(filepath.Join(folder, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got := cloned(t, Request{URL: url, Folder: folder})
	if got.err == nil || !strings.Contains(got.err.Error(), folder+" is not empty, it holds a, b, c and 1 more") {
		t.Errorf("got %v", got.err)
	}
	if names, err := content(folder); err != nil || len(names) != 4 {
		t.Errorf("it holds %v (%v)", names, err)
	}
	volume := t.TempDir()
	if err := os.Mkdir(filepath.Join(volume, lostAndFound), 0o700); err != nil {
		t.Fatal(err)
	}
	got = cloned(t, Request{URL: url, Folder: volume})
	if got.err != nil {
		t.Errorf("a volume of its own: %v", got.err)
	}
	if failed := cloned(t, Request{URL: url, Folder: volume, Ref: "nosuch"}); failed.err == nil {
		t.Error("what has been cloned before was taken for empty")
	}
	if gitIn(t, volume, "rev-parse", "HEAD") != gitIn(t, source, "rev-parse", "HEAD") {
		t.Error("what has been cloned before is gone")
	}
}

func TestOverSSHTheKeyOfTheUserAndThatOfTheHostCount(t *testing.T) {
	root := t.TempDir()
	source := repository(t, root, "web.git")
	commit := gitIn(t, source, "rev-parse", "HEAD")
	private, signer := key(t, "")
	wrong, wrongSigner := key(t, "")
	locked, _ := key(t, "secret")
	server := overSSH(t, root, signer.PublicKey())
	url := "ssh://git@" + server.address + "/web.git"
	with := func(key, hosts string) Request {
		return Request{URL: url, KnownHosts: hosts, Credentials: remote.Credentials{PrivateKey: key}}
	}
	other := knownhosts.Line([]string{server.address}, wrongSigner.PublicKey())

	cloned(t, with(private, server.knownHosts)).sound(t, commit)
	cloned(t, with(strings.TrimSpace(private), strings.TrimSpace(server.knownHosts))).sound(t, commit)
	hashed := strings.Replace(server.knownHosts, knownhosts.Normalize(server.address), xknownhosts.HashHostname(xknownhosts.Normalize(server.address)), 1)
	cloned(t, with(private, hashed)).sound(t, commit)

	missing := with(private, server.knownHosts)
	missing.URL = "ssh://git@" + server.address + "/nosuch.git"
	for name, test := range map[string]struct {
		request Request
		want    string
	}{
		"no key":                {with("", server.knownHosts), "name a Secret with ssh-privatekey"},
		"another key":           {with(wrong, server.knownHosts), "does not accept the private key"},
		"a key with passphrase": {with(locked, server.knownHosts), "has a passphrase"},
		"no key at all":         {with("certainly", server.knownHosts), "no private key that can be read"},
		"no known hosts":        {with(private, ""), "no ssh host is trusted without knownHosts"},
		"other known hosts":     {with(private, strings.ReplaceAll(server.knownHosts, "127.0.0.1", "127.0.0.2")), "is not in knownHosts"},
		"another host's key":    {with(private, other), "the host's key is not the one in knownHosts"},
		"bad known hosts":       {with(private, "host ssh-ed25519"), "knownHosts cannot be used"},
		"no such repository":    {missing, "there is no such repository"},
	} {
		t.Run(name, func(t *testing.T) {
			got := cloned(t, test.request)
			if got.err == nil || !strings.Contains(got.err.Error(), test.want) || got.pauses > 0 {
				t.Errorf("got %v after %d pauses, want %q", got.err, got.pauses, test.want)
			}
		})
	}
}
