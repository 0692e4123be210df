package gatewaytest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

type object = map[string]any

// order is what a request asks for: the fields of all kinds.
type order struct {
	For struct {
		Workspace *int   `json:"workspace"`
		Cache     string `json:"cache"`
		Log       *place `json:"log"`
	} `json:"for"`
	Part   *int     `json:"part"`
	Size   int      `json:"size"`
	SHA256 string   `json:"sha256"`
	Parts  []Part   `json:"parts"`
	Files  int64    `json:"files"`
	Bytes  int64    `json:"bytes"`
	Keys   []string `json:"keys"`
	Key    string   `json:"key"`
}

// place is where a part of a log belongs.
type place struct {
	Step   int `json:"step"`
	Offset int `json:"offset"`
}

func (s *Server) answer(r *http.Request, path string, body []byte, storage string) (int, any) {
	var asked order
	if r.Method == http.MethodPost {
		if err := json.Unmarshal(body, &asked); err != nil {
			return http.StatusBadRequest, object{"code": "BadRequest", "message": err.Error()}
		}
	}
	fields := strings.Split(path, "/")
	switch name := r.Method + " " + path; {
	case name == "POST parts":
		if asked.For.Log != nil {
			s.logs[*asked.For.Log] = asked.SHA256
		}
		if s.objects[asked.SHA256] != nil {
			return http.StatusOK, object{"stored": true}
		}
		return http.StatusOK, s.address(storage, asked.SHA256, http.MethodPut)
	case name == "POST archives":
		return s.store(asked)
	case name == "GET workspace":
		return http.StatusOK, object{"archives": s.saved()}
	case r.Method == http.MethodGet && fields[0] == "workspace" && len(fields) == 3:
		return s.list(r, s.workspaces[fields[1]+"/"+fields[2]], storage)
	case name == "POST caches/find":
		return http.StatusOK, s.find(asked.Keys)
	case name == "POST caches/has":
		return http.StatusOK, object{"exists": s.has(asked.Key)}
	case r.Method == http.MethodGet && fields[0] == "caches" && len(fields) == 2:
		number, _ := strconv.Atoi(fields[1])
		return s.list(r, s.caches[number], storage)
	case name == "PUT results":
		s.results = map[string]string{}
		if err := json.Unmarshal(body, &s.results); err != nil {
			return http.StatusBadRequest, object{"code": "BadRequest", "message": err.Error()}
		}
		return http.StatusNoContent, nil
	case name == "GET results":
		tasks, found := r.URL.Query()["task"], object{}
		if len(tasks) == 0 || len(tasks) > 64 {
			return http.StatusBadRequest, object{"code": "BadRequest", "message": "name 1 to 64 tasks"}
		}
		if slices.Contains(tasks, "parent") {
			found["parent"] = s.results
		}
		return http.StatusOK, object{"tasks": found}
	}
	return http.StatusNotFound, object{"code": "NotFound", "message": "there is no " + path}
}

func (s *Server) store(asked order) (int, any) {
	missing := []int{}
	for i, one := range asked.Parts {
		if len(s.objects[one.SHA256]) != one.Size {
			missing = append(missing, i)
		}
	}
	archive := Archive{Key: asked.For.Cache, Parts: asked.Parts, Files: asked.Files, Bytes: asked.Bytes}
	switch {
	case len(missing) > 0:
		return http.StatusConflict, object{"code": "PartsMissing", "message": fmt.Sprintf("parts are missing: %v", missing), "missing": missing}
	case asked.For.Workspace != nil:
		s.keep(fmt.Sprintf("build/%d", *asked.For.Workspace), archive)
		return http.StatusCreated, object{}
	case s.has(asked.For.Cache):
		return http.StatusOK, object{"existing": true}
	}
	s.caches = append(s.caches, archive)
	return http.StatusCreated, object{}
}

func (s *Server) has(key string) bool {
	for _, one := range s.caches {
		if one.Key == key {
			return true
		}
	}
	return false
}

func (s *Server) saved() []object {
	result := []object{}
	for _, name := range s.order {
		task, step, _ := strings.Cut(name, "/")
		number, _ := strconv.Atoi(step)
		one := described(s.workspaces[name])
		one["task"], one["step"] = task, number
		result = append(result, one)
	}
	return result
}

func (s *Server) find(keys []string) object {
	for _, key := range keys {
		for i := len(s.caches) - 1; i >= 0; i-- {
			if strings.HasPrefix(s.caches[i].Key, key) {
				one := described(s.caches[i])
				one["key"], one["id"], one["created"] = s.caches[i].Key, strconv.Itoa(i), "2026-11-27T05:00:00Z"
				return one
			}
		}
	}
	return object{"key": nil}
}

func described(archive Archive) object {
	size := 0
	for _, one := range archive.Parts {
		size += one.Size
	}
	return object{"parts": len(archive.Parts), "size": size, "bytes": archive.Bytes, "files": archive.Files}
}

func (s *Server) list(r *http.Request, archive Archive, storage string) (int, any) {
	from, fromErr := strconv.Atoi(r.URL.Query().Get("from"))
	count, countErr := strconv.Atoi(r.URL.Query().Get("count"))
	if fromErr != nil || countErr != nil || count > 64 || from > len(archive.Parts) {
		return http.StatusBadRequest, object{"code": "BadRequest", "message": "from and count"}
	}
	parts := []object{}
	for _, one := range archive.Parts[from:min(from+count, len(archive.Parts))] {
		place := s.address(storage, one.SHA256, http.MethodGet)
		place["size"], place["sha256"] = one.Size, one.SHA256
		parts = append(parts, place)
	}
	return http.StatusOK, object{"parts": parts}
}
