package remote

import (
	"strings"
	"testing"
)

func TestASubmodulesAddressIsRelativeToItsRepositoryAsGitTakesIt(t *testing.T) {
	for _, test := range []struct{ base, url, want string }{
		{"https://example.org/org/web.git", "../lib.git", "https://example.org/org/lib.git"},
		{"https://example.org/org/web.git/", "../../other/lib.git", "https://example.org/other/lib.git"},
		{"https://example.org:8443/web.git", "../lib.git", "https://example.org:8443/lib.git"},
		{"https://example.org/org/web.git", "./lib.git", "https://example.org/org/web.git/lib.git"},
		{"ssh://git@example.org:2222/org/web.git", "../lib", "ssh://git@example.org:2222/org/lib"},
		{"git@example.org:org/web.git", "../lib.git", "git@example.org:org/lib.git"},
		{"git@example.org:web.git", "../lib.git", "git@example.org:lib.git"},
		{"git@example.org:/srv/web.git", "../lib.git", "git@example.org:/srv/lib.git"},
		{"https://example.org/web.git", "https://other.example.org/lib.git", "https://other.example.org/lib.git"},
		{"https://example.org/web.git", "../../lib.git", "leads out of the host"},
		{"git@example.org:web.git", "../../lib.git", "leads out of the host"},
		{"https://example.org/org/web.git", "../a/../../lib.git", "not at the beginning"},
		{"https://example.org/web.git", "/srv/lib.git", "repositories come over https or ssh"},
		{"https://example.org/web.git", "https://u:s3cret@other.example.org/lib.git", "has a password in it"},
	} {
		base, err := Parse(test.base)
		if err != nil {
			t.Fatal(err)
		}
		got, err := base.Relative(test.url)
		if err != nil {
			got.URL = err.Error()
		}
		if got.URL != test.want && (err == nil || !strings.Contains(got.URL, test.want)) || strings.Contains(got.URL, "s3cret") {
			t.Errorf("%s and %s: got %s, want %s", test.base, test.url, got.URL, test.want)
		}
	}
}

func TestCredentialsAreForProtocolHostAndPort(t *testing.T) {
	home, err := Parse("https://Example.org/web.git")
	if err != nil {
		t.Fatal(err)
	}
	access, err := NewAccess(home, Credentials{Username: "anna", Password: "s3cret"}, "")
	if err != nil {
		t.Fatal(err)
	}
	for url, logsIn := range map[string]bool{
		"https://example.org/other.git":     true,
		"https://example.org:443/other.git": true,
		"https://example.org:8443/web.git":  false,
		"https://git.example.org/web.git":   false,
		"http://example.org/web.git":        false,
	} {
		address, err := Parse(url)
		if err != nil {
			t.Fatal(err)
		}
		login, err := access.For(address)
		if err != nil || (login != nil) != logsIn {
			t.Errorf("%s: got %v, %v", url, login, err)
		}
	}
}
