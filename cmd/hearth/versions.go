package main

import (
	"fmt"
	"net/http"
	"net/url"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"hearth/api/native"
)

func versionsCommand(t *terminal) *cobra.Command {
	cmd := command(&cobra.Command{
		Use:               "versions NAME",
		ValidArgsFunction: completeFunctions,
		Short:             "List the versions of a function, and publish new ones",
		Long: `Lists the versions of a function. $LATEST is the one that deployments change; a
published version never changes again.`,
		Example: `  hearth versions thumbnail
  hearth versions publish thumbnail --description "smaller images"
  hearth versions delete thumbnail 3`,
	}, true, names(1, "one function's NAME, or 'publish' or 'delete'"), func(cmd *cobra.Command, args []string, v values) error {
		var versions []native.Function
		if err := newClient(v).set(cmd, http.MethodGet, functionPath(args[0], "versions"), nil, &versions); err != nil {
			return err
		}
		return t.show(v, versions, func() { printVersions(t, versions) })
	})
	cmd.AddCommand(publishCommand(t), deleteVersionCommand(t))
	return cmd
}

func printVersions(t *terminal, versions []native.Function) {
	w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "VERSION\tRUNTIME\tMEMORY\tSTATE\tCODE\tMODIFIED\tDESCRIPTION")
	for _, f := range versions {
		v, c := f.Version, f.Version.Config
		fmt.Fprintf(w, "%s\t%s\t%d MB\t%s\t%s\t%s\t%s\n", v.ID.Number, c.Runtime, c.MemoryMB, v.State, size(v.Code.Size),
			v.LastModified.Local().Format(time.DateTime), c.Description)
	}
	w.Flush()
}

func publishCommand(t *terminal) *cobra.Command {
	var description string
	cmd := command(&cobra.Command{
		Use:               "publish NAME",
		ValidArgsFunction: completeFunctions,
		Short:             "Publish $LATEST as a version",
		Long: `Publishes $LATEST as a version. Where neither code nor settings changed since the
last publication, that version is the answer.`,
		Example: "  hearth versions publish thumbnail --description 'smaller images'",
	}, true, names(1, "one function's NAME"), func(cmd *cobra.Command, args []string, v values) error {
		var request native.PublishRequest
		if cmd.Flags().Changed("description") {
			request.Description = &description
		}
		var made native.Function
		if err := newClient(v).set(cmd, http.MethodPost, functionPath(args[0], "versions"), request, &made); err != nil {
			return err
		}
		return t.show(v, made, func() { fmt.Fprintf(t.out, "%s  version %s\n", made.Name, made.Version.ID.Number) })
	})
	cmd.Flags().StringVar(&description, "description", "", "what is new in it (default: the function's description)")
	return cmd
}

func deleteVersionCommand(t *terminal) *cobra.Command {
	return command(&cobra.Command{
		Use:               "delete NAME VERSION",
		ValidArgsFunction: completeFunctions,
		Short:             "Delete a published version",
		Long:              "Deletes a published version, which no alias may point at. Its number is not given again.",
		Example:           "  hearth versions delete thumbnail 3",
	}, true, names(2, "one function's NAME and the number of a version"), func(cmd *cobra.Command, args []string, v values) error {
		query := url.Values{"qualifier": {args[1]}}
		if err := newClient(v).do(cmd.Context(), http.MethodDelete, "functions/"+url.PathEscape(args[0]), query, nil, nil); err != nil {
			return err
		}
		return t.show(v, map[string]string{"deleted": args[0] + ":" + args[1]}, func() {
			fmt.Fprintf(t.out, "deleted version %s of %s\n", args[1], args[0])
		})
	})
}
