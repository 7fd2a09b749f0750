// Command fetch brings the browser player, and what makes QR codes, into
// web/static/npm, where the binary embeds them. go generate ./web runs it, in the folder web, on any system
// that has Go and Node.js:
//
//	npm ci          installs exactly what package-lock.json names
//	mpegts.js       is copied, with what is wrong in it put right (corrections)
//	lean-qr.js      is copied as it is
//	LICENSES.txt    gathers the licences of all that is bundled in them
package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

const target = "static/npm"

// licensed are the packages that the two files hold, and the file in each that
// says on which terms.
var licensed = []struct{ name, file string }{
	{"mpegts.js", "LICENSE"},
	{"es6-promise", "LICENSE"},
	{"events", "LICENSE"},
	{"lean-qr", "LICENSE"},
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "fetch:", err)
		os.Exit(1)
	}
}

func run() error {
	if err := install(); err != nil {
		return err
	}
	if err := os.MkdirAll(target, 0o755); err != nil {
		return err
	}
	player, err := os.ReadFile(filepath.Join("node_modules", "mpegts.js", "dist", "mpegts.js"))
	if err != nil {
		return err
	}
	if player, err = correct(player); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(target, "mpegts.js"), player, 0o644); err != nil {
		return err
	}
	codes, err := os.ReadFile(filepath.Join("node_modules", "lean-qr", "index.mjs"))
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(target, "lean-qr.js"), codes, 0o644); err != nil {
		return err
	}
	licences, err := gather("node_modules")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(target, "LICENSES.txt"), licences, 0o644)
}

// corrections are of mpegts.js 1.8.2, which misreads the frame header of AV1 key
// frames and takes the picture's size from coded data (its issue 245): most streams
// of SVT-AV1, which OBS uses, end at one of their key frames.
var corrections = []struct{ wrong, right string }{
	// AV1 §5.9.2: showable_frame is there for frames that are not shown.
	{"l&&o.readBool(),u=!!(", "l||o.readBool(),u=!!("},
	// And ref_order_hint[] is not for intra frames that refresh all references.
	{"(_||255!==g)&&u&&r.enable_order_hint", "(!_||255!==g)&&u&&r.enable_order_hint"},
}

// notice tells readers of the player that it is not as its authors made it, as its
// licence wants.
const notice = "/* mpegts.js, changed for Sluice: reading of AV1 frame headers, issue 245 of mpegts.js */\n"

// correct applies the corrections, each of which has one place.
func correct(player []byte) ([]byte, error) {
	for _, c := range corrections {
		if n := bytes.Count(player, []byte(c.wrong)); n != 1 {
			return nil, fmt.Errorf("mpegts.js is another version: %d places to correct for %q", n, c.wrong)
		}
		player = bytes.Replace(player, []byte(c.wrong), []byte(c.right), 1)
	}
	return append([]byte(notice), player...), nil
}

// install runs npm ci, without the scripts of the packages: none is needed.
func install() error {
	npm, err := exec.LookPath("npm") // npm.cmd on Windows
	if err != nil {
		if errors.Is(err, exec.ErrNotFound) {
			return errors.New("there is no npm here; install Node.js 20 or newer (https://nodejs.org)")
		}
		return err
	}
	cmd := exec.Command(npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("npm ci: %w", err)
	}
	return nil
}

func gather(modules string) ([]byte, error) {
	var b bytes.Buffer
	for _, l := range licensed {
		text, err := os.ReadFile(filepath.Join(modules, l.name, l.file))
		if err != nil {
			return nil, fmt.Errorf("licence of %s: %w", l.name, err)
		}
		fmt.Fprintf(&b, "==== %s ====\n\n%s\n\n", l.name, bytes.TrimSpace(text))
	}
	return b.Bytes(), nil
}
