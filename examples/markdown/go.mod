module markdown

go 1.26.8

require (
	github.com/aws/aws-lambda-go v1.55.1
	github.com/yuin/goldmark v1.8.7
)
