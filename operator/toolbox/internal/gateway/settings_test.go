package gateway

import (
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"runabout.dev/toolbox/internal/gateway/gatewaytest"
)

func TestAnOwnCertificateIsTrustedIfThePlanNamesItsAuthority(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"exists": true}`))
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	authority := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	token := gatewaytest.New(t).TokenFile
	for _, trusted := range []bool{true, false} {
		settings := Settings{URL: server.URL, TokenFile: token}
		if trusted {
			settings.CA = authority
		}
		c, err := New(settings, "run", "task", 1, time.Millisecond, func(string) {})
		if err != nil {
			t.Fatal(err)
		}
		if has, err := c.HasCache(t.Context(), "x"); has != trusted || (err == nil) != trusted {
			t.Errorf("trusted %v: %v", trusted, err)
		}
	}
}

func TestTheGatewayIsReachedThroughASocketWhereThePlanNamesOne(t *testing.T) {
	listener, err := net.Listen("unix", filepath.Join(t.TempDir(), "socket"))
	if err != nil {
		t.Fatal(err)
	}
	asked := ""
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.Host
		_, _ = io.WriteString(w, "{}")
	})}
	t.Cleanup(func() { server.Close() })
	go func() { _ = server.Serve(listener) }()
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	settings := Settings{URL: "http://gateway.invalid", TokenFile: token, Socket: listener.Addr().String()}
	c, err := New(settings, "1il7g1c000001", "build", 1, time.Minute, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	response, err := c.http.Get(c.base.String())
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if asked != "gateway.invalid" {
		t.Errorf("asked for %q", asked)
	}
}

func TestWrongSettingsAreRefused(t *testing.T) {
	for name, test := range map[string]struct {
		settings Settings
		want     string
	}{
		"no address":     {Settings{TokenFile: "x"}, "the plan's gateway.url is"},
		"another scheme": {Settings{URL: "ftp://x", TokenFile: "x"}, "no http or https address"},
		"no token":       {Settings{URL: "https://x"}, "tokenFile is missing"},
		"no certificate": {Settings{URL: "https://x", TokenFile: "x", CA: "nothing"}, "ca has no certificate"},
	} {
		if _, err := New(test.settings, "run", "task", 1, 0, func(string) {}); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
