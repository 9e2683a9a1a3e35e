package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"hearth/api/native"
	"hearth/code"
	"hearth/faas"
)

const layersHelp = `A layer is a package that several functions share. Its files are below /opt in
every instance: libraries in nodejs/node_modules, python, lib, programs in bin.
Versions of a layer are numbered and never change; functions name the version that
they use, and keep it when it is deleted.`

func layersCommand(t *terminal) *cobra.Command {
	cmd := &cobra.Command{Use: "layers", Short: "Publish and list layers, the packages that functions share", Long: layersHelp,
		Example: `  hearth layers publish ./tools --name tools
  hearth deploy ./thumbnail --layer tools
  hearth layers list`}
	cmd.AddCommand(publishLayerCommand(t), listLayersCommand(t), describeLayerCommand(t), deleteLayerCommand(t))
	return cmd
}

func publishLayerCommand(t *terminal) *cobra.Command {
	var name string
	var req native.LayerRequest
	cmd := command(&cobra.Command{
		Use:   "publish PATH",
		Short: "Publish a directory or a zip as the next version of a layer",
		Example: `  hearth layers publish ./tools
  hearth layers publish build/layer.zip --name tools --runtime nodejs22.x --description 'shared tools'`,
	}, true, names(1, "one PATH"), func(cmd *cobra.Command, args []string, v values) (err error) {
		if name == "" {
			if name, err = layerName(args[0]); err != nil {
				return err
			}
		}
		t.progress("packing %s", args[0])
		if req.Zip, err = code.Pack(args[0]); err != nil {
			return err
		}
		made, err := newClient(v).publishLayer(cmd.Context(), name, &req)
		if err != nil {
			return err
		}
		return t.show(v, made, func() {
			fmt.Fprintf(t.out, "published %s:%d  %s\n%s\n", made.Name, made.Number, size(made.Code.Size), made.ARN)
		})
	})
	flags := cmd.Flags()
	flags.StringVar(&name, "name", "", "the layer's name (default: the directory's or the file's)")
	flags.StringVar(&req.Description, "description", "", "what it holds")
	flags.StringVar(&req.License, "license", "", "its license, such as MIT")
	flags.StringArrayVar(&req.Runtimes, "runtime", nil, "a runtime that it works with, repeatable")
	flags.StringArrayVar(&req.Architectures, "architecture", nil, "an architecture that it works with: x86_64, arm64")
	return cmd
}

// layerName is the name of a layer that is at path and has no other.
func layerName(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	name := strings.TrimSuffix(filepath.Base(abs), ".zip")
	if !faas.ValidLayerName(name) {
		return "", usageError("%q cannot name a layer: say --name, of letters, digits, - and _", name)
	}
	return name, nil
}

func listLayersCommand(t *terminal) *cobra.Command {
	return command(&cobra.Command{
		Use: "list", Short: "List the layers, each with its newest version", Example: "  hearth layers list",
	}, true, names(0, "no arguments"), func(cmd *cobra.Command, _ []string, v values) error {
		layers := []native.Layer{}
		if err := newClient(v).do(cmd.Context(), http.MethodGet, "layers", nil, nil, &layers); err != nil {
			return err
		}
		return t.show(v, layers, func() { printLayers(t, layers) })
	})
}

func describeLayerCommand(t *terminal) *cobra.Command {
	return command(&cobra.Command{
		Use: "describe NAME", Short: "Show every version of a layer, the newest first", Example: "  hearth layers describe tools",
	}, true, names(1, "one layer's NAME"), func(cmd *cobra.Command, args []string, v values) error {
		layers := []native.Layer{}
		if err := newClient(v).do(cmd.Context(), http.MethodGet, layerPath(args[0]), nil, nil, &layers); err != nil {
			return err
		}
		return t.show(v, layers, func() { printLayers(t, layers) })
	})
}

func printLayers(t *terminal, layers []native.Layer) {
	w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tVERSION\tSIZE\tUNPACKED\tRUNTIMES\tCREATED\tDESCRIPTION")
	for _, l := range layers {
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\t%s\n", l.Name, l.Number, size(l.Code.Size), size(l.Contents.Bytes),
			strings.Join(l.Runtimes, " "), l.Created.Local().Format(time.DateTime), l.Description)
	}
	w.Flush()
}

func deleteLayerCommand(t *terminal) *cobra.Command {
	return command(&cobra.Command{
		Use: "delete NAME:VERSION", Short: "Delete a version of a layer; functions that use it keep it",
		Example: "  hearth layers delete tools:3",
	}, true, names(1, "one NAME:VERSION"), func(cmd *cobra.Command, args []string, v values) error {
		name, number, ok := strings.Cut(args[0], ":")
		if !ok || !faas.ValidVersionNumber(number) {
			return usageError("%q names no version of a layer: say NAME:VERSION, such as tools:3", args[0])
		}
		if err := newClient(v).do(cmd.Context(), http.MethodDelete, layerPath(name)+"/versions/"+number, nil, nil, nil); err != nil {
			return err
		}
		return t.show(v, map[string]string{"deleted": args[0]}, func() { fmt.Fprintf(t.out, "deleted %s\n", args[0]) })
	})
}

func layerPath(name string) string { return "layers/" + url.PathEscape(name) }

func (c *client) publishLayer(ctx context.Context, name string, req *native.LayerRequest) (*native.Layer, error) {
	body, err := json.Marshal(req)
	if err != nil {
		return nil, err
	}
	out := new(native.Layer)
	return out, c.do(ctx, http.MethodPost, layerPath(name), nil, bytes.NewReader(body), out)
}

// isLayerPath reports whether a layer is named by where its content is.
func isLayerPath(layer string) bool {
	return strings.HasPrefix(layer, "./") || strings.HasPrefix(layer, "../") || filepath.IsAbs(layer)
}

// absolutePaths makes the paths among layers absolute: they were said in the working
// directory.
func absolutePaths(layers []string) error {
	for i, l := range layers {
		if isLayerPath(l) {
			abs, err := filepath.Abs(l)
			if err != nil {
				return err
			}
			layers[i] = abs
		}
	}
	return nil
}

// publishLocal publishes the layers that a manifest names by path, where their
// content is another than the newest version's, and returns the list with the names
// of all. A path begins with ./, ../ or /.
func (c *client) publishLocal(ctx context.Context, t *terminal, dir string, layers []string) ([]string, error) {
	named := make([]string, 0, len(layers))
	for _, l := range layers {
		if !isLayerPath(l) {
			named = append(named, l)
			continue
		}
		if !filepath.IsAbs(l) {
			l = filepath.Join(dir, l)
		}
		name, err := layerName(l)
		if err != nil {
			return nil, err
		}
		zip, err := code.Pack(l)
		if err != nil {
			return nil, err
		}
		have := []native.Layer{}
		err = c.do(ctx, http.MethodGet, layerPath(name), nil, nil, &have)
		var refused *exitError
		if err != nil && !(errors.As(err, &refused) && refused.code == exitNotFound) {
			return nil, err
		}
		if len(have) > 0 && have[0].Code.SHA256 == digestOf(zip) {
			named = append(named, have[0].ARN)
			continue
		}
		t.progress("publishing layer %s (%s)", name, size(int64(len(zip))))
		made, err := c.publishLayer(ctx, name, &native.LayerRequest{Zip: zip})
		if err != nil {
			return nil, err
		}
		named = append(named, made.ARN)
	}
	return named, nil
}

func digestOf(zip []byte) string {
	sum := sha256.Sum256(zip)
	return hex.EncodeToString(sum[:])
}
