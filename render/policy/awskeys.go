package policy

import "github.com/flexgw/flexgw/schema/diag"

// AWSKeys are credentials of AWS that stand in a declaration.
type AWSKeys struct {
	ID     string `flex:"accessKeyId"`
	Secret Secret `flex:"secretAccessKey"`
	Token  Secret `flex:"sessionToken"`
}

// StaticKeys judges the keys at a path, which count with authenticationMode: static alone; auth is the mode.
func (f *Findings) StaticKeys(auth, path string, k AWSKeys, missing, unused diag.Code) {
	f.Mode(auth == "static", "authenticationMode: static", "authenticationMode",
		[]Field{{Path: path + ".accessKeyId", Given: k.ID != ""}, {Path: path + ".secretAccessKey", Given: !k.Secret.IsZero()}},
		[]Field{{Path: path + ".sessionToken", Given: !k.Token.IsZero()}}, missing, unused)
}
