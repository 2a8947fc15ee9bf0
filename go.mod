module github.com/adit-ssh/adit

go 1.26
