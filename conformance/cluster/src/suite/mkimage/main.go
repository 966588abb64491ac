// Command mkimage writes an image of one layer to standard output, in the form that `docker save` writes and that
// `ctr images import` and `docker load` read. The same files give the same bytes.
//
//	mkimage -tag NAME[,NAME..] [-user UID:GID] -entrypoint PATH FILE:PATH..
package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path"
	"runtime"
	"strings"
)

func main() {
	tags := flag.String("tag", "", "names of the image, with commas between them")
	user := flag.String("user", "", "who runs the program, UID:GID")
	entrypoint := flag.String("entrypoint", "", "the program, a path inside of the image")
	flag.Parse()
	if err := write(os.Stdout, strings.Split(*tags, ","), *user, *entrypoint, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "mkimage:", err)
		os.Exit(1)
	}
}

func write(to io.Writer, tags []string, user, entrypoint string, files []string) error {
	layer, err := layer(files)
	if err != nil {
		return err
	}
	config, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH,
		"os":           "linux",
		"config": map[string]any{
			"User":       user,
			"Entrypoint": []string{entrypoint},
			"WorkingDir": "/",
			"Env":        []string{"PATH=/usr/local/bin:/usr/bin:/bin"},
		},
		"rootfs": map[string]any{
			"type":     "layers",
			"diff_ids": []string{fmt.Sprintf("sha256:%x", sha256.Sum256(layer))},
		},
	})
	if err != nil {
		return err
	}
	manifest, err := json.Marshal([]map[string]any{
		{"Config": "config.json", "Layers": []string{"layer.tar"}, "RepoTags": tags},
	})
	if err != nil {
		return err
	}
	image := tar.NewWriter(to)
	for _, part := range []struct {
		name string
		data []byte
	}{{"config.json", config}, {"layer.tar", layer}, {"manifest.json", manifest}} {
		if err := put(image, part.name, 0o644, part.data); err != nil {
			return err
		}
	}
	return image.Close()
}

// layer packs files of the form FILE:PATH and the directories above them. Everybody may read them, because the image's
// user owns none.
func layer(files []string) ([]byte, error) {
	buffer := new(bytes.Buffer)
	layer := tar.NewWriter(buffer)
	made := map[string]bool{"/": true, ".": true}
	for _, arg := range files {
		from, to, ok := strings.Cut(arg, ":")
		if !ok || !path.IsAbs(to) {
			return nil, fmt.Errorf("%q is not of the form FILE:PATH with an absolute path", arg)
		}
		if err := putDirs(layer, made, path.Dir(to)); err != nil {
			return nil, err
		}
		info, err := os.Stat(from)
		if err != nil {
			return nil, err
		}
		data, err := os.ReadFile(from)
		if err != nil {
			return nil, err
		}
		if err := put(layer, to[1:], int64(info.Mode().Perm()|0o444), data); err != nil {
			return nil, err
		}
	}
	return buffer.Bytes(), layer.Close()
}

func putDirs(to *tar.Writer, made map[string]bool, dir string) error {
	if made[dir] {
		return nil
	}
	made[dir] = true
	if err := putDirs(to, made, path.Dir(dir)); err != nil {
		return err
	}
	return to.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir[1:] + "/", Mode: 0o755})
}

func put(to *tar.Writer, name string, mode int64, data []byte) error {
	if err := to.WriteHeader(&tar.Header{Name: name, Mode: mode, Size: int64(len(data))}); err != nil {
		return err
	}
	_, err := to.Write(data)
	return err
}
