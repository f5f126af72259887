/**
 * The native part of `kerberos`, the optional package that only the Hadoop provider loads. It has to
 * be compiled here, which needs a C++ compiler and libkrb5-dev, so packages are installed without it.
 */

/** Does nothing yet: the Hadoop provider's own checks say what is missing when it is needed. */
export async function buildKerberos() {}
