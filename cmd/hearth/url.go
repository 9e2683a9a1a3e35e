package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"hearth/api/native"
	"hearth/faas"
)

func urlCommand(t *terminal) *cobra.Command {
	cmd := command(&cobra.Command{
		Use:               "url NAME",
		ValidArgsFunction: completeFunctions,
		Short:             "List, make and delete the HTTP addresses of a function",
		Long: `Lists the URLs of a function and its aliases. What is requested there becomes an
event of Lambda's payload format 2.0, what the function returns the answer.`,
		Example: `  hearth url thumbnail
  hearth url set thumbnail --cors-origin https://app.example.com
  hearth url set thumbnail --qualifier live --auth iam --stream
  hearth url delete thumbnail --qualifier live`,
	}, true, names(1, "one function's NAME, or 'set' or 'delete'"), func(cmd *cobra.Command, args []string, v values) error {
		var urls []native.FunctionURL
		if err := newClient(v).set(cmd, http.MethodGet, functionPath(args[0], "urls"), nil, &urls); err != nil {
			return err
		}
		return t.show(v, urls, func() { printURLs(t, urls) })
	})
	cmd.AddCommand(setURLCommand(t), deleteURLCommand(t))
	return cmd
}

func printURLs(t *terminal, urls []native.FunctionURL) {
	w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "QUALIFIER\tAUTH\tMODE\tURL")
	for _, u := range urls {
		qualifier := u.Qualifier
		if qualifier == "" {
			qualifier = faas.Latest
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", qualifier, u.Auth, u.Mode, u.URL)
	}
	w.Flush()
}

// urlFlags are what a function URL is made from.
type urlFlags struct {
	qualifier, auth string
	stream          bool
	cors            faas.CORS
	maxAge          int
}

func setURLCommand(t *terminal) *cobra.Command {
	var f urlFlags
	cmd := command(&cobra.Command{
		Use:               "set NAME",
		ValidArgsFunction: completeFunctions,
		Short:             "Make the URL of a function or an alias, or change it",
		Long: `Makes the URL of a function, or of the alias that --qualifier names, or changes the
one that is there; what is not said stays. All that pages of other origins may do is
said at once, by the flags --cors-….`,
		Example: `  hearth url set thumbnail
  hearth url set thumbnail --auth iam
  hearth url set thumbnail --cors-origin https://app.example.com --cors-method GET --cors-method PUT`,
	}, true, names(1, "one function's NAME"), func(cmd *cobra.Command, args []string, v values) error {
		request, err := f.request(cmd)
		if err != nil {
			return err
		}
		body, err := json.Marshal(request)
		if err != nil {
			return err
		}
		var made native.FunctionURL
		err = newClient(v).do(cmd.Context(), http.MethodPut, functionPath(args[0], "url"), f.query(), bytes.NewReader(body), &made)
		if err != nil {
			return err
		}
		return t.show(v, made, func() { fmt.Fprintln(t.out, made.URL) })
	})
	flags := cmd.Flags()
	flags.StringVar(&f.qualifier, "qualifier", "", "an alias (default: the function itself)")
	flags.StringVar(&f.auth, "auth", "", "who may call: none, whom the resource policy lets; or iam, who signs and has the right (default none)")
	flags.BoolVar(&f.stream, "stream", false, "send what the function produces as it comes; --stream=false ends that")
	flags.StringSliceVar(&f.cors.AllowOrigins, "cors-origin", nil, "origins whose pages may call, such as https://app.example.com, or *")
	flags.StringSliceVar(&f.cors.AllowMethods, "cors-method", nil, "methods that they may use, or *")
	flags.StringSliceVar(&f.cors.AllowHeaders, "cors-header", nil, "headers that they may send, or *")
	flags.StringSliceVar(&f.cors.ExposeHeaders, "cors-expose", nil, "headers of answers that they may read, or *")
	flags.BoolVar(&f.cors.AllowCredentials, "cors-credentials", false, "let them send cookies and credentials")
	flags.IntVar(&f.maxAge, "cors-max-age", 0, "seconds for which a browser may remember this, at most 86400")
	return cmd
}

func (f *urlFlags) request(cmd *cobra.Command) (native.URLRequest, error) {
	var request native.URLRequest
	switch f.auth {
	case "":
	case "none":
		request.Auth = new(faas.URLAuthNone)
	case "iam":
		request.Auth = new(faas.URLAuthIAM)
	default:
		return request, usageError("--auth must be none or iam, not %q", f.auth)
	}
	changed := cmd.Flags().Changed
	if changed("stream") {
		request.Mode = new(faas.URLBuffered)
		if f.stream {
			request.Mode = new(faas.URLStreamed)
		}
	}
	if changed("cors-max-age") {
		f.cors.MaxAgeSeconds = &f.maxAge
	}
	for _, flag := range []string{"origin", "method", "header", "expose", "credentials", "max-age"} {
		if changed("cors-" + flag) {
			request.CORS = &f.cors
		}
	}
	return request, nil
}

func (f *urlFlags) query() url.Values {
	if f.qualifier == "" {
		return nil
	}
	return url.Values{"qualifier": {f.qualifier}}
}

func deleteURLCommand(t *terminal) *cobra.Command {
	var f urlFlags
	cmd := command(&cobra.Command{
		Use:               "delete NAME",
		ValidArgsFunction: completeFunctions,
		Short:             "Delete the URL of a function or an alias",
		Long:              "Deletes the URL of a function, or of the alias that --qualifier names. The address never comes back.",
		Example:           "  hearth url delete thumbnail --qualifier live",
	}, true, names(1, "one function's NAME"), func(cmd *cobra.Command, args []string, v values) error {
		if err := newClient(v).do(cmd.Context(), http.MethodDelete, functionPath(args[0], "url"), f.query(), nil, nil); err != nil {
			return err
		}
		return t.show(v, map[string]string{"deleted": args[0]}, func() { fmt.Fprintf(t.out, "deleted the URL of %s\n", args[0]) })
	})
	cmd.Flags().StringVar(&f.qualifier, "qualifier", "", "an alias (default: the function itself)")
	return cmd
}
