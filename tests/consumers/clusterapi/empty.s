// Lets the compiler take the declaration in main.go whose body is in another package.
