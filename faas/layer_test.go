package faas

import "testing"

func TestParseLayerRef(t *testing.T) {
	here := Scope{Account: "123456789012", Region: "us-east-1"}
	own := func(name string) LayerID { return LayerID{"123456789012", "us-east-1", name} }
	for _, c := range []struct {
		text   string
		id     LayerID
		number int64
		ok     bool
	}{
		{"tools", own("tools"), 0, true},
		{"tools:7", own("tools"), 7, true},
		{"arn:aws:lambda:us-east-1:123456789012:layer:tools", own("tools"), 0, true},
		{"arn:aws-cn:lambda:cn-north-1:999999999999:layer:t_-1:12", LayerID{"999999999999", "cn-north-1", "t_-1"}, 12, true},
		{"", LayerID{}, 0, false},
		{"tools:", LayerID{}, 0, false},
		{"tools:0", LayerID{}, 0, false},
		{"tools:01", LayerID{}, 0, false},
		{"tools:1:2", LayerID{}, 0, false},
		{"a/b", LayerID{}, 0, false},
		{"arn:aws:lambda:us-east-1:12:layer:tools:1", LayerID{}, 0, false},
		{"arn:aws:lambda:us-east-1:123456789012:function:tools:1", LayerID{}, 0, false},
		{"arn:aws:lambda:us-east-1:123456789012:layer", LayerID{}, 0, false},
	} {
		id, number, ok := ParseLayerRef(c.text, here)
		if ok != c.ok || ok && (id != c.id || number != c.number) {
			t.Errorf("%q: %+v %d %v", c.text, id, number, ok)
		}
		if ok && number > 0 {
			if again, n, ok := ParseLayerRef(LayerVersionARN(id, number), Scope{}); !ok || again != id || n != number {
				t.Errorf("%q: its ARN is read as %+v %d %v", c.text, again, n, ok)
			}
		}
	}
}

func TestLayerAllows(t *testing.T) {
	v := func(statements ...LayerStatement) *LayerVersion {
		return &LayerVersion{Layer: LayerID{Account: "111111111111"}, Policy: statements}
	}
	for _, c := range []struct {
		v       *LayerVersion
		account string
		want    bool
	}{
		{v(), "111111111111", true},
		{v(), "222222222222", false},
		{v(LayerStatement{Principal: "222222222222"}), "222222222222", true},
		{v(LayerStatement{Principal: "222222222222"}), "333333333333", false},
		{v(LayerStatement{Principal: "arn:aws:iam::222222222222:root"}), "222222222222", true},
		{v(LayerStatement{Principal: "arn:aws:iam::222222222222:root"}), "2222222222", false},
		{v(LayerStatement{Principal: "*"}), "222222222222", true},
		{v(LayerStatement{Principal: "*", Organization: "o-1234567890"}), "222222222222", false},
	} {
		if got := c.v.Allows(c.account); got != c.want {
			t.Errorf("%+v allows %s: %v", c.v.Policy, c.account, got)
		}
	}
}
