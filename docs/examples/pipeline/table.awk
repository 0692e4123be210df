# Prints all primes below 20,000, one a line.
BEGIN {
  for (number = 2; number < 20000; number++) {
    prime = 1
    for (divisor = 2; divisor * divisor <= number && prime; divisor++)
      if (number % divisor == 0) prime = 0
    if (prime) print number
  }
}
