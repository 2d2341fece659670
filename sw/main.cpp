// Entry point of the `lastmile` program.
int main() { return 0; }
