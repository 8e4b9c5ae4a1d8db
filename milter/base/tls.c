/* tls */
#include "relaypool.h"
