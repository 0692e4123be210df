// The command gitserver serves a folder's files as a git repository over https, to whoever has the name and the password,
// and over ssh, to whoever has the key: the repository of the demo and of tests, without a git on any side.
package main

import (
	"crypto/subtle"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/storer"
	"github.com/go-git/go-git/v5/plumbing/transport"
	"github.com/go-git/go-git/v5/plumbing/transport/server"
)

const service = "git-upload-pack"

func main() {
	listen := flag.String("listen", ":8443", "where to listen")
	folder := flag.String("folder", "/repository", "whose files are served")
	name := flag.String("name", "repository.git", "the repository's name in the URL")
	certificate := flag.String("certificate", "/tls/tls.crt", "PEM file")
	key := flag.String("key", "/tls/tls.key", "PEM file")
	sshListen := flag.String("ssh-listen", "", "where to listen for ssh; nowhere by default")
	hostKey := flag.String("ssh-host-key", "/ssh/host", "the server's own key, a PEM file")
	authorized := flag.String("ssh-authorized", "/ssh/authorized", "public key of whoever is let in")
	flag.Parse()
	repository, err := repositoryOf(*folder)
	if err != nil {
		log.Fatalf("gitserver: %v", err)
	}
	user, password := os.Getenv("GIT_USERNAME"), os.Getenv("GIT_PASSWORD")
	if user == "" || password == "" {
		log.Fatal("gitserver: set GIT_USERNAME and GIT_PASSWORD: nobody else is let in")
	}
	if *sshListen != "" {
		settings, err := sshSettings(*hostKey, *authorized)
		if err != nil {
			log.Fatalf("gitserver: %v", err)
		}
		listener, err := net.Listen("tcp", *sshListen)
		if err != nil {
			log.Fatalf("gitserver: %v", err)
		}
		go func() { log.Fatalf("gitserver: %v", serveSSH(listener, settings, *name, repository)) }()
	}
	log.Printf("serving %s as https://%s/%s", *folder, *listen, *name)
	answers := &http.Server{
		Addr:              *listen,
		Handler:           guarded(user, password, handler(*name, repository)),
		ReadHeaderTimeout: 10 * time.Second,
	}
	log.Fatalf("gitserver: %v", answers.ListenAndServeTLS(*certificate, *key))
}

// guarded lets in whoever has name and password.
func guarded(user, password string, inner http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, word, _ := r.BasicAuth()
		if subtle.ConstantTimeCompare([]byte(name+"\x00"+word), []byte(user+"\x00"+password)) != 1 {
			w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			http.Error(w, "name and password, please", http.StatusUnauthorized)
			return
		}
		inner.ServeHTTP(w, r)
	})
}

// handler answers the two requests of git's smart protocol that a clone consists of.
func handler(name string, repository storer.Storer) http.Handler {
	endpoint := &transport.Endpoint{Path: "/" + name}
	serving := server.NewServer(server.MapLoader{endpoint.String(): repository})
	mux := http.NewServeMux()
	answer := func(pattern, kind string, write func(http.ResponseWriter, *http.Request, transport.UploadPackSession) error) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			session, err := serving.NewUploadPackSession(endpoint, nil)
			if err == nil {
				w.Header().Set("Content-Type", fmt.Sprintf("application/x-%s-%s", service, kind))
				w.Header().Set("Cache-Control", "no-cache")
				err = write(w, r, session)
			}
			if err != nil {
				log.Printf("%s %s: %v", r.Method, r.URL.Path, err)
				http.Error(w, err.Error(), http.StatusBadRequest) // changes nothing once an answer has begun
			}
		})
	}
	answer("GET /"+name+"/info/refs", "advertisement", advertise)
	answer("POST /"+name+"/"+service, "result", upload)
	return mux
}

func advertise(w http.ResponseWriter, r *http.Request, session transport.UploadPackSession) error {
	if r.URL.Query().Get("service") != service {
		return fmt.Errorf("only %s is served", service)
	}
	references, err := session.AdvertisedReferencesContext(r.Context())
	if err != nil {
		return err
	}
	references.Prefix = [][]byte{[]byte("# service=" + service), {}}
	return references.Encode(w)
}

func upload(w http.ResponseWriter, r *http.Request, session transport.UploadPackSession) error {
	request := packp.NewUploadPackRequest()
	if err := request.Decode(http.MaxBytesReader(w, r.Body, 1<<20)); err != nil {
		return err
	}
	response, err := session.UploadPack(r.Context(), request)
	if err != nil {
		return err
	}
	return response.Encode(w) // which closes it
}
