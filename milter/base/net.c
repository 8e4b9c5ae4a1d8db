/* net */
#include "relaypool.h"
