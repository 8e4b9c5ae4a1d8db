/* pipeline */
#include "relaypool.h"
